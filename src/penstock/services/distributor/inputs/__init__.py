"""Inputs: what speaks other protocols than the REST API, and makes records of what comes."""
