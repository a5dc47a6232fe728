//! The web app beside the endpoint.

use axum::body::Body;
use axum::http::Request;

use crate::harness::{Options, Reply, Server};

struct Site {
    server: Server,
    _folder: tempfile::TempDir,
}

fn site() -> Site {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("assets")).unwrap();
    for (name, text) in [
        ("index.html", "<p>app</p>"),
        ("sw.js", "1"),
        ("assets/app.js", "2"),
        ("assets/driver.wasm", "3"),
        ("../secret.txt", "4"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let static_dir = Some(folder.path().to_owned());
    Site { server: Server::with(Options { static_dir, ..Options::default() }), _folder: folder }
}

impl Site {
    async fn get(&self, path: &str, accept: &str) -> Reply {
        self.server.send(Request::get(path).header("accept", accept).body(Body::empty()).unwrap()).await
    }
}

#[tokio::test]
async fn files_have_their_types_and_only_pages_are_asked_for_anew() {
    let site = site();
    for (path, content_type, cache_control) in [
        ("/", "text/html", "no-cache"),
        ("/index.html", "text/html", "no-cache"),
        ("/sw.js", "text/javascript", "no-cache"),
        ("/assets/app.js", "text/javascript", ""),
        ("/assets/driver.wasm", "application/wasm", ""),
    ] {
        let reply = site.get(path, "*/*").await;
        assert_eq!(reply.status, 200, "{path}");
        assert!(
            reply.header("content-type").starts_with(content_type),
            "{path}: {}",
            reply.header("content-type")
        );
        assert_eq!(reply.header("cache-control"), cache_control, "{path}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
    }
}

#[tokio::test]
async fn a_navigation_without_a_file_gets_the_app() {
    let site = site();
    let html = "text/html,application/xhtml+xml";
    for path in ["/stories/7", "/deep/er/path?x=1"] {
        let reply = site.get(path, html).await;
        assert_eq!((reply.status.as_u16(), reply.text.as_str()), (200, "<p>app</p>"), "{path}");
        assert_eq!(reply.header("cache-control"), "no-cache");
    }
    site.get("/assets/gone.js", "*/*").await.assert_problem(404, "NOT_FOUND");
    site.server.get("/api/sync").await.assert_problem(405, "METHOD_NOT_ALLOWED");
}

#[tokio::test]
async fn nothing_outside_the_folder_is_served() {
    let site = site();
    for path in ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/assets/../../secret.txt"] {
        assert_ne!(site.get(path, "*/*").await.status, 200, "{path}");
    }
}
