"""Tables, figures and one page from stored runs. Matplotlib is loaded by the first figure drawn."""

from lopsided.report.canvas import KINDS, figure_path, save_figure, to_bytes, to_png
from lopsided.report.curves import figure_merged, figure_training
from lopsided.report.matrices import figure_cosines, figure_mean_logits, figure_overview
from lopsided.report.measures import measures_table, verdict
from lopsided.report.near_collapse import figure_near_collapse
from lopsided.report.page import Picture, render_page
from lopsided.report.phase import figure_phase
from lopsided.report.reproduction import figure_reproduction, write_reproduction
from lopsided.report.spectrum import figure_singular_values, lost_at
from lopsided.report.tables import Row, checks_table, comparison_rows, comparison_table, report_dict
from lopsided.report.writing import write_report

__all__ = [
    "KINDS",
    "Picture",
    "Row",
    "checks_table",
    "comparison_rows",
    "comparison_table",
    "figure_cosines",
    "figure_mean_logits",
    "figure_merged",
    "figure_near_collapse",
    "figure_overview",
    "figure_path",
    "figure_phase",
    "figure_reproduction",
    "figure_singular_values",
    "figure_training",
    "lost_at",
    "measures_table",
    "render_page",
    "report_dict",
    "save_figure",
    "to_bytes",
    "to_png",
    "verdict",
    "write_report",
    "write_reproduction",
]
