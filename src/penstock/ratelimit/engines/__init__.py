"""Engines: limits that are kept by a server, so that many hosts share them. Import the one you need."""
