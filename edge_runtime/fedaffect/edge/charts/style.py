"""Colours of charts in light and dark, as a page or a standalone SVG file carries them."""

from typing import Final

CHART_STYLE: Final = """
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
svg { font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; font-size: 12.5px; }
svg .head { font-weight: 600; }
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
.band { fill: var(--first); fill-opacity: .16; } .band.second { fill: var(--second); }
.random { stroke: var(--second); stroke-dasharray: 6 4; stroke-width: 2; }
.curve { stroke: var(--first); stroke-linejoin: round; stroke-width: 2; }
.paper { fill: var(--card); }
.s0 { color: var(--l0); stroke: var(--l0); } .dot.s0 { fill: var(--l0); } .band.s0 { fill: var(--l0); stroke: none; }
.s1 { color: var(--l1); stroke: var(--l1); } .dot.s1 { fill: var(--l1); } .band.s1 { fill: var(--l1); stroke: none; }
.s2 { color: var(--l2); stroke: var(--l2); } .dot.s2 { fill: var(--l2); } .band.s2 { fill: var(--l2); stroke: none; }
.s3 { color: var(--l3); stroke: var(--l3); } .dot.s3 { fill: var(--l3); } .band.s3 { fill: var(--l3); stroke: none; }
.s4 { color: var(--l4); stroke: var(--l4); } .dot.s4 { fill: var(--l4); } .band.s4 { fill: var(--l4); stroke: none; }
.s5 { color: var(--l5); stroke: var(--l5); } .dot.s5 { fill: var(--l5); } .band.s5 { fill: var(--l5); stroke: none; }
.s6 { color: var(--l6); stroke: var(--l6); } .dot.s6 { fill: var(--l6); } .band.s6 { fill: var(--l6); stroke: none; }
.s7 { color: var(--l7); stroke: var(--l7); } .dot.s7 { fill: var(--l7); } .band.s7 { fill: var(--l7); stroke: none; }
.s8 { color: var(--l8); stroke: var(--l8); } .dot.s8 { fill: var(--l8); } .band.s8 { fill: var(--l8); stroke: none; }
.s9 { color: var(--l9); stroke: var(--l9); } .dot.s9 { fill: var(--l9); } .band.s9 { fill: var(--l9); stroke: none; }
"""
