"""The addresses below a mount's prefix: what each takes and answers, in no framework's words."""
