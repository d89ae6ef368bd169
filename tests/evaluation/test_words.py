from gs_densify.evaluation.words import worst_in_words
from gs_densify.results import Scores, ViewScores


def views(**psnr: float | None) -> list[ViewScores]:
    return [ViewScores(name=name, scores=Scores(psnr=value)) for name, value in psnr.items()]


def test_the_three_worst_views_are_named_the_worst_first() -> None:
    found = worst_in_words(views(a=30.0, b=21.23456, c=25.0, d=None, e=22.0))
    assert found == ["worst views, by PSNR in dB: b 21.235, e 22.000, c 25.000"]


def test_nothing_is_said_where_there_is_no_choice() -> None:
    assert worst_in_words(views(a=30.0, b=None)) == [] == worst_in_words([])
