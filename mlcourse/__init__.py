"""Reusable loops, plots, statistics and checks for the course. Importing it loads nothing heavy."""
