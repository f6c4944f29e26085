"""The convex program over frozen features: which class is lost at which decay, for one network's own features."""

from lopsided.forecast.path import Forecast, forecast
from lopsided.forecast.result import ForecastSolution

__all__ = ["Forecast", "ForecastSolution", "forecast"]
