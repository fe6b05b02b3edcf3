"""How a report looks: colours for light and dark, one column on a phone, two on a desk."""

STYLE = """
:root { color-scheme: light dark;
  --page: #f7f7f5; --card: #ffffff; --ink: #1d1f24; --soft: #5d6370; --line: #e3e4e8; --axis: #9aa0ac;
  --first: #2a6fdb; --second: #c8641b; --best: #0f8a6a; --share: #2a6fdb;
  --l0: #2a6fdb; --l1: #e8963a; --l2: #17a589; --l3: #d1495b; --l4: #7a5cc4; --l5: #8a9a2b; --l6: #d670a8;
  --l7: #5aa9d6; --l8: #94633a; --l9: #8a8f99; }
@media (prefers-color-scheme: dark) { :root {
  --page: #14161a; --card: #1d2026; --ink: #e9eaee; --soft: #a2a8b4; --line: #30343d; --axis: #6b7280;
  --first: #6ea3f5; --second: #f0a061; --best: #4fd0a9; --share: #4d8bee;
  --l0: #6ea3f5; --l1: #f2b05e; --l2: #45c9ae; --l3: #ee7d8b; --l4: #a992ea; --l5: #b9c75a; --l6: #ea9cca;
  --l7: #8fcbee; --l8: #c0936b; --l9: #a6abb5; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 16px; margin: 0 0 10px; } * + h2.later { margin-top: 26px; }
p { margin: 4px 0 10px; } .soft { color: var(--soft); } .lead { font-size: 16px; max-width: 75ch; }
.badge { display: inline-block; border: 1px solid var(--second); color: var(--second); border-radius: 99px;
  font-size: 13px; padding: 1px 10px; vertical-align: middle; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(128px, 1fr)); gap: 12px; margin: 18px 0; }
.tile, section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
.tile { padding: 10px 14px; } .tile b { display: block; font-size: 22px; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13px; }
.grid { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 16px; }
section { padding: 16px 18px; } .wide { grid-column: 1 / -1; }
@media (max-width: 820px) { .grid { grid-template-columns: minmax(0, 1fr); } }
svg { display: block; width: 100%; margin: 0 auto; height: auto; font-size: 12.5px; }
.scroll { overflow-x: auto; } .broad svg { min-width: 720px; }
svg text { fill: var(--ink); } svg .tick, svg .name { fill: var(--soft); }
svg .note { fill: var(--best); font-weight: 600; }
svg .grid { stroke: var(--line); } svg .axis { stroke: var(--axis); }
.line { stroke-width: 2; stroke-linejoin: round; }
.line.first { stroke: var(--first); } .line.second { stroke: var(--second); }
.line.second { stroke-dasharray: 6 3; }
.dot.first { fill: var(--first); } .dot.second { fill: var(--second); } .hover { fill: transparent; }
.best { stroke: var(--best); stroke-dasharray: 3 3; stroke-width: 1.5; }
.chosen { fill: var(--card); stroke: var(--best); stroke-width: 2.5; }
.cell { fill: var(--share); } svg .share { font-weight: 600; } svg .count { font-size: 11px; }
svg text.on { fill: #ffffff; } svg text.off.count { fill: var(--soft); }
.bar { fill: var(--first); fill-opacity: .55; } .person { fill: var(--first); fill-opacity: .45; stroke: var(--card); }
.label0 { fill: var(--l0); } .label1 { fill: var(--l1); } .label2 { fill: var(--l2); } .label3 { fill: var(--l3); }
.label4 { fill: var(--l4); } .label5 { fill: var(--l5); } .label6 { fill: var(--l6); } .label7 { fill: var(--l7); }
.label8 { fill: var(--l8); } .label9 { fill: var(--l9); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 4px 10px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 500; color: var(--soft); } .figures td, .figures th:not(:first-child) { text-align: right; }
td { overflow-wrap: anywhere; } footer { color: var(--soft); font-size: 13px; margin-top: 24px; }
@media print { body { background: #fff; } section, .tile { break-inside: avoid; } }
"""
