"""Zenodo, Borealis and GitHub with its LFS store, as far as a download asks them, on loopback."""

import hashlib
import io
import json
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class DownloadServer:
    """Serves recordings; faults are switched on by path.

    Attributes:
        files: Contents by path.
        posts: What answers a POST request, by path.
        cut: Paths whose next answer ends after this many bytes.
        status: Paths whose next answer is this status.
        ranges: Whether ranges are known.
        requests: `(method, path, range)` of every request.
    """

    def __init__(self):
        self.files, self.posts, self.cut, self.status, self.ranges, self.requests = {}, {}, {}, {}, True, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def do_GET(self):
                outer.requests.append(("GET", self.path, self.headers.get("Range")))
                self.answer(outer.files.get(self.path))

            def do_POST(self):
                outer.requests.append(("POST", self.path, None))
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                respond = outer.posts.get(self.path)
                self.answer(respond and json.dumps(respond(body)).encode())

            def answer(self, content):
                status = outer.status.pop(self.path, 200)
                if content is None or status != 200:
                    self.send_response(404 if content is None else status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                wanted = self.headers.get("Range") if outer.ranges else None
                begin = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
                self.send_response(206 if wanted else 200)
                self.send_header("Content-Length", str(len(content) - begin))
                if wanted:
                    self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
                self.end_headers()
                part = content[begin:]
                cut = outer.cut.pop(self.path, None)
                self.wfile.write(part if cut is None else part[:cut])
                if cut is not None:
                    self.close_connection = True

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def add_ravdess(self, recordings):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as opened:
            for name, content in recordings.items():
                opened.writestr(f"Actor_{name[18:20]}/{name}", content)
        content = archive.getvalue()
        name = "Audio_Speech_Actors_01-24.zip"
        entry = {"key": name, "size": len(content), "checksum": f"md5:{hashlib.md5(content).hexdigest()}"}
        other = {"key": "Audio_Song_Actors_01-24.zip", "size": 1, "checksum": "md5:0"}
        self.files["/api/records/1188976"] = json.dumps({"files": [other, entry]}).encode()
        path = f"/api/records/1188976/files/{name}/content"
        self.files[path] = content
        return path

    def add_tess(self, recordings):
        listed = []
        for number, (name, content) in enumerate(recordings.items(), start=101):
            checksum = {"type": "MD5", "value": hashlib.md5(content).hexdigest()}
            listed.append(
                {"dataFile": {"id": number, "filename": name, "filesize": len(content), "checksum": checksum}}
            )
            self.files[f"/api/access/datafile/{number}"] = content
        answer = {"status": "OK", "data": {"latestVersion": {"files": listed}}}
        path = "/api/datasets/:persistentId/?persistentId=doi:10.5683/SP2/E8H2MF"
        self.files[path] = json.dumps(answer).encode()

    def add_crema_d(self, recordings, votes="a table\n"):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr("CREMA-D-master/processedResults/tabulatedVotes.csv", votes)
            for name, content in recordings.items():
                digest = hashlib.sha256(content).hexdigest()
                pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n"
                opened.writestr(f"CREMA-D-master/AudioWAV/{name}", pointer)
                opened.writestr(f"CREMA-D-master/AudioMP3/{name[:-4]}.mp3", pointer)
                self.files[f"/store/{digest}"] = content
        repository = "/CheyneyComputerScience/CREMA-D"
        self.files[f"{repository}/archive/refs/heads/master.zip"] = archive.getvalue()

        def batch(body):
            assert body["operation"] == "download"
            objects = []
            for entry in body["objects"]:
                known = f"/store/{entry['oid']}" in self.files
                href = {"actions": {"download": {"href": f"{self.url}/store/{entry['oid']}"}}}
                objects.append({**entry, **(href if known else {"error": {"code": 404, "message": "over quota"}})})
            return {"transfer": "basic", "objects": objects}

        self.posts[f"{repository}.git/info/lfs/objects/batch"] = batch
