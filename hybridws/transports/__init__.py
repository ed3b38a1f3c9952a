"""What moves packets between a session and one HTTP exchange or WebSocket."""
