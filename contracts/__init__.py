"""What travels and where: topics, records, codec, settings, errors, clinical tables. No broker, no model, no disk."""
