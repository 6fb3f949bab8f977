"""What a file says of an index beside its documents, and the index that this describes."""

from collections.abc import Mapping
from typing import Any

from penstock.errors import InvalidType, InvalidValue, shown
from penstock.search.analyzer import Analyzer
from penstock.search.fields import Field, Integer, Layout, Number, Text, checked_analyzer
from penstock.search.index_file import Contents, FieldConfig, wrong
from penstock.search.scoring import Scorer, scorer_of_config

__all__ = ["GivenAnalyzers", "contents_of", "own_analyzers", "restored_parts"]

GivenAnalyzers = Analyzer | Mapping[str, Analyzer] | None
"""What stands for analyzers that a file cannot hold: one for all, or by name of the field."""


def contents_of(layout: Layout, scorer: Scorer, positions: bool, documents: int, frozen: bool) -> Contents:
    """What to write down of an index."""
    fields = None
    if not layout.unnamed:
        fields = [field_config(name, field) for name, field in layout.fields.items()]
    return Contents(fields, analyzer_config(layout.analyzer), scorer.config(), positions, documents, frozen)


def field_config(name: str, field: Field) -> FieldConfig:
    if isinstance(field, Text):
        own = None if field.analyzer is None else analyzer_config(checked_analyzer(field.analyzer))
        return FieldConfig(name, "text", field.boost, own)
    return FieldConfig(name, field.kind)


def analyzer_config(analyzer: Analyzer) -> dict[str, Any]:
    return {} if analyzer.is_custom else analyzer.config()


def own_analyzers(layout: Layout) -> dict[str, Analyzer]:
    """By field, the analyzers that a file cannot hold: those with a function of somebody's own."""
    pairs = zip(layout.names, layout.analyzers, strict=True)
    return {name: analyzer for name, analyzer in pairs if analyzer.is_custom}


def restored_parts(contents: Contents, given: GivenAnalyzers, name: str) -> tuple[Layout, Scorer]:
    """The fields and the scorer of an index.

    Args:
        contents: what its file says.
        given: analyzers that the file does not hold.
        name: of the file, for messages.

    Raises:
        IndexFileError: the file says what cannot be.
        InvalidValue: an analyzer is needed that is not given.
    """
    if given is not None and not isinstance(given, Analyzer | Mapping):
        raise InvalidType(f"analyzer must be an Analyzer or a mapping of fields to them, got {shown(given)}")
    configs = [FieldConfig("text", "text")] if contents.fields is None else contents.fields
    fields: dict[str, Field] = {}
    analyzer = None
    try:
        scorer = scorer_of_config(contents.scorer)
        if contents.analyzer:
            analyzer = Analyzer.of_config(contents.analyzer)
        for each in configs:
            own = Analyzer.of_config(each.analyzer) if each.analyzer else None
            fields[each.name] = field_of(each, own)
    except (InvalidValue, InvalidType, TypeError, LookupError, AttributeError) as error:
        raise wrong(name, "say what can be", str(error)) from None
    for each in configs:
        if each.kind != "text":
            continue
        if each.analyzer == {}:
            fields[each.name] = Text(each.boost, needed(given, each.name, name))
        elif each.analyzer is None and analyzer is None:
            analyzer = needed(given, each.name, name)
    try:
        return Layout(None if contents.fields is None else fields, analyzer or Analyzer()), scorer
    except (InvalidValue, InvalidType) as error:
        raise wrong(name, "say what can be", str(error)) from None


def field_of(config: FieldConfig, analyzer: Analyzer | None) -> Field:
    match config.kind:
        case "text":
            return Text(config.boost, analyzer)
        case "number":
            return Number()
        case "integer":
            return Integer()
    raise InvalidValue(f"kind of a field must be text, number or integer, got {config.kind!r}")


def needed(given: GivenAnalyzers, field: str, name: str) -> Analyzer:
    """An analyzer that the file does not hold."""
    analyzer = given.get(field) if isinstance(given, Mapping) else given
    if not isinstance(analyzer, Analyzer):
        raise InvalidValue(
            f"analyzer must be given for field {field} of {name}, which was made with a function of "
            "your own: load(path, analyzer=Analyzer(custom=...))"
        )
    return analyzer
