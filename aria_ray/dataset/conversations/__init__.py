"""The user's own conversations (`dataset.sources`): read, recognised, checked and made into rows."""
