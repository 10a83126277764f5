class Ours(Exception):
    """Of the project; what it does at its making it shall not do again elsewhere."""

    made = 0

    def __init__(self, code, text):
        super().__init__(code, text)
        self.code = code
        Ours.made += 1
    def __str__(self): return f"code {self.code}"
class Deeper(Ours): pass
