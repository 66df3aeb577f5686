"""Every exception of this package: `PyroError`, and one class for each error code."""

from ._error_codes import *
from ._error_codes import BY_CODE as BY_CODE
from ._errors import PyroError as PyroError
