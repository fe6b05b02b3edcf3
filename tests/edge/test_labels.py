import pytest

from fedaffect.edge.errors import ConfigError
from fedaffect.edge.labels import CORPUS_LABELS, VOCABULARY, to_vocabulary


@pytest.mark.parametrize("corpus", CORPUS_LABELS)
def test_names_go_to_the_vocabulary(corpus: str) -> None:
    for native in CORPUS_LABELS[corpus]:
        assert to_vocabulary(corpus, f" {native.upper()} ") in VOCABULARY


def test_words_that_a_corpus_does_not_have() -> None:
    with pytest.raises(ConfigError, match=r"'bored' is outside the set of meld; it uses anger"):
        to_vocabulary("meld", "bored")
