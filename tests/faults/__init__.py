"""Whatever breaks: each fault happens to real processes, with requests flowing, and nothing may be lost."""
