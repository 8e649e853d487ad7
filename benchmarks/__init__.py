"""Measurements of time and memory, each one command. Nothing outside imports them."""
