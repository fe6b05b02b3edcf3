"""``fedaffect data``: which corpora there are, and whether a folder holds one whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from fedaffect.edge.cli.output import stdout
from fedaffect.edge.errors import DataError
from fedaffect.edge.labels import label_set
from fedaffect.edge.system.progress import working

if TYPE_CHECKING:
    from fedaffect.client.corpora.base import Corpus, CorpusInfo, Utterance
    from fedaffect.client.corpora.census import Finding

_PIPE_WIDTH = 200  # a row stays a line or two
_LISTED = 20


@click.group()
def data() -> None:
    """List the corpora fedaffect reads, and check a folder that holds one.

    \b
    Corpora are read from a folder in the layout their authors give out; nothing is
    downloaded for you, because most ask you to agree to a licence first:
      fedaffect data list                     all corpora, their licences and sizes
      fedaffect data list meld                where MELD comes from, and what its folder must hold
      fedaffect data check ~/corpora/MELD     count it against the official numbers
      fedaffect simulate --dataset meld --data-dir ~/corpora/MELD
    """  # noqa: D301


@data.command("list")
@click.argument("corpora", nargs=-1, metavar="[NAME]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list instead of a table.")
def list_corpora(corpora: tuple[str, ...], as_json: bool) -> None:
    """Show all corpora, or all about each NAME.

    The first column is what --dataset takes, the third its default for --labels.

    \b
      fedaffect data list
      fedaffect data list meld ravdess
      fedaffect data list --json
    """  # noqa: D301
    from fedaffect.client.corpora.registry import factory, names

    infos = [factory(name).info for name in corpora or names()]
    if as_json:
        click.echo(json.dumps([_facts(info) for info in infos], indent=2, ensure_ascii=False))
        return
    console = stdout(_PIPE_WIDTH)
    if corpora:
        for info in infos:
            console.print(_page(info))
        return
    table = Table(title="Corpora", title_justify="left")
    for column in ("name", "modalities", "labels", "licence", "size", "where", "needs"):
        table.add_column(column, overflow="fold")
    for info in infos:
        table.add_row(
            info.name,
            " ".join(info.modalities),
            info.label_set or "none",
            info.licence,
            info.size,
            info.where,
            info.needs,
        )
    console.print(table)


def _labels(info: CorpusInfo) -> tuple[str, ...]:
    return label_set(info.label_set).labels if info.label_set else ()


def _facts(info: CorpusInfo) -> dict[str, object]:
    return {
        "name": info.name,
        "title": info.title,
        "modalities": list(info.modalities),
        "label_set": info.label_set,
        "labels": list(_labels(info)),
        "label_sets": list(info.label_sets),
        "client": info.client,
        "features_only": info.features_only,
        "licence": info.licence,
        "size": info.size,
        "where": info.where,
        "needs": info.needs,
        "counts": dict(info.counts),
        "citation": info.citation,
    }


def _page(info: CorpusInfo) -> Table:
    """All that is known of one corpus."""
    table = Table(title=info.title, title_justify="left", show_header=False)
    for what, value in (
        ("--dataset", info.name),
        ("modalities", ", ".join(info.modalities)),
        ("labels", f"{info.label_set}: {', '.join(labels)}" if (labels := _labels(info)) else "none"),
        ("--labels", ", ".join(info.label_sets)),
        ("client", f"one {info.client}" + (", so no natural partition" if info.client == "image" else "")),
        ("licence", info.licence),
        ("size", info.size),
        ("where", info.where),
        ("needs", info.needs),
        ("official", ", ".join(f"{what} {count:,}" for what, count in info.counts.items())),
        ("citation", info.citation),
    ):
        table.add_row(what, value)
    return table


@data.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--dataset", metavar="NAME", help="Which corpus it is; guessed from its layout if left out.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.option("--strict", is_flag=True, help="Exit with 2 also where single sound files are without sound.")
def check(folder: Path, dataset: str | None, as_json: bool, strict: bool) -> None:
    """Count the corpus in DIR against its official numbers.

    Reads every table and the head of every clip, but decodes none. Exits with 0 if every count agrees, and with 2 and
    one line if one does not, or if something is missing or cut off; the line names the file and line. A clip that is
    a pointer, a web page or empty is not counted, is listed, and ends in 2; sound files that have a header alone are
    listed, as official ones do.

    \b
      fedaffect data check ~/corpora/MELD
      fedaffect data check --dataset ferplus ~/corpora/FERPlus/data
    """  # noqa: D301
    from fedaffect.client.corpora.census import Unusable, census, findings
    from fedaffect.client.corpora.registry import guess, open_corpus

    name = dataset if dataset is not None else guess(folder)
    corpus = open_corpus(name, folder)
    with Unusable() as unusable:
        found = findings(census(_watched(corpus), unusable), corpus.info.counts)
    listed = unusable.reasons | unusable.silent
    if as_json:
        counts = {each.what: {"found": each.found, "official": each.official} for each in found}
        agrees = all(f.agrees for f in found)
        facts = {"dataset": name, "agrees": agrees, "counts": counts, "unusable": listed}
        click.echo(json.dumps(facts, indent=2))
    else:
        stdout(_PIPE_WIDTH).print(_table(corpus.info, found))
        _list(listed)
    if refused := listed if strict else unusable.reasons:
        place, reason = next(iter(refused.items()))
        raise DataError(f"{folder} is not the whole {name}: {len(refused):,} clips are none; {place}: {reason}")
    wrong = [each for each in found if not each.agrees]
    if wrong:
        said = "; ".join(f"{each.what} is {each.found:,}, officially {each.official:,}" for each in wrong)
        raise DataError(f"{folder} is not the whole {name}: {said}. Get it again: {corpus.info.where}")


def _list(unusable: Mapping[str, str]) -> None:
    for place, reason in list(unusable.items())[:_LISTED]:
        click.echo(f"not a clip: {place}: {reason}")
    if len(unusable) > _LISTED:
        click.echo(f"and {len(unusable) - _LISTED:,} more; --json lists all")


def _table(info: CorpusInfo, found: list[Finding]) -> Table:
    table = Table(title=info.title, title_justify="left")
    table.add_column("what")
    table.add_column("found", justify="right")
    table.add_column("official", justify="right")
    table.add_column("")
    for each in found:
        if each.official is None:
            table.add_row(each.what, f"{each.found:,}", "", "")
        else:
            mark = "[green]✓[/]" if each.agrees else "[red]✗[/]"
            table.add_row(each.what, f"{each.found:,}", f"{each.official:,}", mark)
    return table


def _watched(corpus: Corpus) -> Iterator[Utterance]:
    """The corpus, with how far it is."""
    official = corpus.info.counts
    total = sum(official.get(split, 0) for split in ("train", "dev", "train+dev", "test"))
    with working(f"counting {corpus.info.name}", total or None, at_once=False) as done:
        for utterance in corpus:
            yield utterance
            done(1)
