"""Zenodo, Borealis and GitHub as far as a download asks them, all on one loopback server."""

import hashlib
import io
import json
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

CREMA_D = "CheyneyComputerScience/CREMA-D"
MASTER = f"https://github.com/{CREMA_D}/archive/refs/heads/master.zip"
MEDIA = f"https://media.githubusercontent.com/media/{CREMA_D}/master/AudioWAV"
RECORD = "https://zenodo.org/api/records/1188976"
RAVDESS = "Audio_Speech_Actors_01-24.zip"


class DownloadServer:
    """Serves recordings under their public URLs; faults are switched on by URL.

    Attributes:
        files: Contents by URL; a text is the URL to which the server redirects.
        cut: URLs whose next answer ends after this many bytes.
        status: URLs whose next answer has this status.
        requests: URL of every request.
    """

    def __init__(self):
        self.files, self.cut, self.status, self.requests = {}, {}, {}, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def do_GET(self):
                url = f"https:/{self.path}"
                outer.requests.append(url)
                content = outer.files.get(url)
                status = outer.status.pop(url, 404 if content is None else 302 if isinstance(content, str) else 200)
                body = content if status == 200 else b""
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", content)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                cut = outer.cut.pop(url, None)
                self.wfile.write(body[:cut])
                self.close_connection = cut is not None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def send(self, send, adapter, request, **options):
        """Send a request to this server instead of the host that it is for."""
        url, parts = request.url, urlsplit(request.url)
        request.url = f"{self.url}/{parts.netloc}{request.path_url}"
        answer = send(adapter, request, **options)
        request.url = answer.url = url
        return answer

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def add_ravdess(self, recordings):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as opened:
            for name, content in recordings.items():
                opened.writestr(f"Actor_{name[18:20]}/{name}", content)
        content = archive.getvalue()
        url = f"{RECORD}/files/{RAVDESS}/content"
        entry = {"key": RAVDESS, "checksum": f"md5:{hashlib.md5(content).hexdigest()}", "links": {"self": url}}
        other = {"key": "Audio_Song_Actors_01-24.zip", "checksum": "md5:0", "links": {"self": "https://zenodo.org"}}
        self.files["https://doi.org/10.5281/zenodo.1188976"] = "https://zenodo.org/records/1188976"
        self.files["https://zenodo.org/records/1188976"] = b"<html>"
        self.files[RECORD] = json.dumps({"files": [other, entry]}).encode()
        self.files[url] = content
        return url

    def add_tess(self, recordings):
        listed = []
        for number, (name, content) in enumerate(recordings.items(), start=101):
            listed.append({"dataFile": {"id": number, "filename": name, "md5": hashlib.md5(content).hexdigest()}})
            self.files[f"https://borealisdata.ca/api/access/datafile/{number}"] = content
        page = "https://borealisdata.ca/dataset.xhtml?persistentId=doi:10.5683/SP2/E8H2MF"
        self.files["https://doi.org/10.5683/SP2/E8H2MF"] = page
        self.files[page] = b"<html>"
        answer = json.dumps({"status": "OK", "data": {"latestVersion": {"files": listed}}}).encode()
        self.files["https://borealisdata.ca/api/datasets/:persistentId?persistentId=doi:10.5683/SP2/E8H2MF"] = answer

    def add_crema_d(self, recordings, votes="a table\n"):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr("CREMA-D-master/processedResults/tabulatedVotes.csv", votes)
            for name, content in recordings.items():
                digest = hashlib.sha256(content).hexdigest()
                pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n"
                opened.writestr(f"CREMA-D-master/AudioWAV/{name}", pointer)
                opened.writestr(f"CREMA-D-master/AudioMP3/{name[:-4]}.mp3", pointer)
                self.files[f"{MEDIA}/{name}"] = content
        self.files[MASTER] = archive.getvalue()
