"""What a page holds. Pure: bytes and strings in, values out; knows no message and does no I/O."""
