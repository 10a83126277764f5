from flask import Flask

app = Flask(__name__)


@app.get("/report/<int:rows>")
def report(rows):
    return {"sum": sum(list(range(rows)))}
