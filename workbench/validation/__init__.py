"""Validation: how much of a result is luck, leak or the choice of the best of many.

Pure: frames and arrays in, results out.
"""
