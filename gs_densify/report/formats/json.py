"""A report as JSON, for other programs; its keys are the names in `report.Report`."""

from typing import Any

from gs_densify.report.methods import Method, code_of
from gs_densify.report.report import Report
from gs_densify.results.encode import encode
from gs_densify.results.files import to_json


def write(report: Report) -> str:
    """Returns the whole report."""
    value = {
        "protocols": report.protocols,
        "baseline": report.baseline,
        "quantities": [
            {
                "name": one.name,
                "label": one.label,
                "unit": one.unit,
                "higher_is_better": one.higher_is_better,
                "is_score": one.is_score,
            }
            for one in report.quantities
        ],
        "methods": [_method(method) for method in report.methods],
        "tables": encode(report.tables),
        "marks": encode(report.marks),
        "differences": encode(report.differences),
        "notes": report.notes,
        "unfinished": [{"path": str(run.path), "step": run.step} for run in report.unfinished],
    }
    return f"{to_json(value, where='the report', indent=1)}\n"


def _method(method: Method) -> dict[str, Any]:
    return {
        "label": method.label,
        "strategy": method.strategy,
        "options": method.options,
        "runs": [
            {"path": str(run.path), "scene": run.scene, "seed": run.seed, "code": code_of(run)}
            for run in method.runs
        ],
    }
