import os
from pathlib import Path

from fastapi import FastAPI, UploadFile

UPLOADS = Path(os.environ.get("UPLOADS", "/var/lib/shop/uploads"))
app = FastAPI()


@app.post("/uploads")
def upload(file: UploadFile):
    UPLOADS.mkdir(parents=True, exist_ok=True)
    (UPLOADS / "latest").write_bytes(file.file.read())
    return {"size": (UPLOADS / "latest").stat().st_size}


@app.get("/uploads/latest")
def latest():
    path = UPLOADS / "latest"
    return {"text": path.read_text() if path.exists() else None}
