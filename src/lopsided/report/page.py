"""One page of HTML that holds everything it shows: no network, no scripts, no files beside it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from string import Template

from lopsided.paper.checks import Check, all_hold
from lopsided.report import wording
from lopsided.report.tables import CHECK_HEADER, CHECKS_TITLE, HEADER, check_cells, comparison_rows
from lopsided.runs.record import Run

_TEMPLATE = "page.html"


@dataclass(frozen=True)
class Picture:
    """A drawn figure.

    Attributes
    ----------
    name : str
        File name without its suffix.
    png : bytes
        The image.
    text : str
        What the figure shows, for those who cannot see it; also its caption.
    """

    name: str
    png: bytes
    text: str

    def to_html(self) -> str:
        """Return the picture with its caption, inline."""
        data = base64.b64encode(self.png).decode("ascii")
        text = escape(self.text)
        return f'<figure><img src="data:image/png;base64,{data}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def render_page(
    title: str,
    lead: str,
    runs: Sequence[Run],
    checks: Sequence[Check],
    overview: Sequence[Picture] = (),
    pictures: Mapping[str, Sequence[Picture]] | None = None,
) -> str:
    """Write the page of a few runs.

    Parameters
    ----------
    title, lead : str
        Heading and what was done, as plain text.
    runs : sequence of Run
        One section each.
    checks : sequence of Check
        The claims; the verdict on top says whether all hold.
    overview : sequence of Picture
        Figures about all runs.
    pictures : mapping of str to sequence of Picture, optional
        By name of the run, the figures of its section.

    Returns
    -------
    str
        A whole HTML document. Every text is escaped, wherever it came from.

    Examples
    --------
    >>> page = render_page("A < B", "nothing was run", [], [])
    >>> "<h1>A &lt; B</h1>" in page
    True
    """
    parts = []
    if checks:
        parts.append(_table(CHECK_HEADER, (check_cells(check) for check in checks), CHECKS_TITLE))
    parts += [picture.to_html() for picture in overview]
    parts += [_section(run, (pictures or {}).get(run.name, ())) for run in runs]
    template = Template(resources.files(__package__).joinpath(_TEMPLATE).read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(title),
        lead=escape(lead),
        verdict=_verdict(checks),
        content="\n".join(parts),
        details="\n".join(map(_details, runs)),
    )


def _verdict(checks: Sequence[Check]) -> str:
    if not checks:
        return ""
    broken = [check for check in checks if not check.holds]
    if all_hold(checks):
        return f'<p class="verdict good">The target holds: {len(checks)} of {len(checks)} claims hold.</p>'
    claims = "; ".join(f"{check.run}: {check.claim} ({check.found})" for check in broken)
    return (
        f'<p class="verdict bad">The target does not hold: {len(broken)} of {len(checks)} claims do not hold. '
        f"{escape(claims)}</p>"
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], caption: str, kind: str = "") -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row[:-1]) + _verdict_cell(row[-1]) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table class="{kind}"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _verdict_cell(text: str) -> str:
    kind = {"yes": "good", "agrees": "good", "no": "bad", "differs": "bad"}.get(text)
    return f'<td class="{kind}">{text}</td>' if kind else f"<td>{escape(text)}</td>"


def _section(run: Run, pictures: Sequence[Picture]) -> str:
    names = wording.class_names(run)
    parts = [
        f"<h2>{escape(run.name)}: {escape(wording.decay(run))}</h2>",
        f"<p>{escape(wording.outcome(run).capitalize())}. {escape(wording.certificate(run))}</p>",
        _table(
            HEADER,
            (row.cells(names) for row in comparison_rows(run)),
            "Matrices: root-mean-square entry; error in the Frobenius norm.",
            "numbers",
        ),
    ]
    if run.findings:
        parts.append("<ul>" + "".join(f"<li>{escape(finding)}</li>" for finding in run.findings) + "</ul>")
    parts += [picture.to_html() for picture in pictures]
    return "<section>" + "\n".join(parts) + "</section>"


def _details(run: Run) -> str:
    stored = {
        "settings": run.settings,
        "certificate": run.certificate,
        "measures": run.measures,
        "versions": run.versions,
    }
    text = escape(json.dumps(stored, indent=1, ensure_ascii=False))
    return f"<details><summary>Settings and measures of {escape(run.name)}</summary><pre>{text}</pre></details>"
