"""Programs that run inside a box. They are sent as text and import nothing of this package."""
