"""Models behind an OpenAI-compatible server: asked within a budget, never twice the same, and never obeyed blindly."""
