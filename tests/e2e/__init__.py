"""The cluster in containers, on a real engine: what an operator does to it, and what must hold meanwhile."""
