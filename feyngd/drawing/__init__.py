"""Drawing: diagrams and spacetimes as SVG."""
