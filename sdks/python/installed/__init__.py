"""Tests of the installed wheel. They see nothing of the checkout."""
