"""Version of the project, which generated files state."""

VERSION = "0.1.0"
