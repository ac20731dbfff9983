"""The gate, part by part."""
