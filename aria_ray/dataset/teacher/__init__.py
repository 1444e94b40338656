"""The teacher: a large model that writes example requests, of which only those are kept that prove right."""
