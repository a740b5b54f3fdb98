"""A shop's page and API over one checkpoint and one catalog; only `infer.py serve` imports it."""
