//! A real browser: headless Chromium, driven through chromedriver by the WebDriver protocol (`make setup` installs both).

use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::http::{get, within};
use crate::process::{Process, Spec, on_path};
use crate::run_dir::RunDir;
use crate::wait::SOON;
use crate::{ports, wait};

/// One window; closed on drop.
#[derive(Debug)]
pub struct Browser {
    session: String,
    port: u16,
    process: Process,
    _dir: RunDir,
}

impl Browser {
    /// Opens a window of this size. Chromium asks nothing of the network but the pages.
    pub async fn open(width: u32, height: u32) -> Browser {
        let (dir, port) = (RunDir::new("browser"), ports::free());
        let driver = on_path("chromedriver").expect("chromedriver is missing: run `make setup`");
        let process = Process::spawn(Spec::new("chromedriver", &driver, dir.path(), [format!("--port={port}")]));
        wait::until_or(
            "chromedriver",
            SOON,
            || process.log_tail(),
            async || matches!(get(port, "/status").await, Ok((200, _))),
        )
        .await;
        let profile = dir.path().join("profile");
        let mut args: Vec<String> = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ]
        .map(str::to_owned)
        .into();
        args.push(format!("--window-size={width},{height}"));
        args.push(format!("--user-data-dir={}", profile.display()));
        let options = json!({ "args": args });
        let asked = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } } } });
        let mut browser = Browser { session: String::new(), port, process, _dir: dir };
        let answer = browser.send("POST", "", &asked).await;
        browser.session = format!("/{}", answer["sessionId"].as_str().unwrap());
        browser
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        self.ask(method, path, body).await.unwrap_or_else(|answer| panic!("{method} {path} {body}: {answer}"))
    }

    async fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, Value> {
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let path = format!("/session{}{path}", self.session);
        let headers: &[(&str, &str)] = &[("content-type", "application/json")];
        // A browser that starts beside other tests takes its time.
        let answer = within(SOON, self.port, method, &path, headers, &body).await;
        let answer = answer.unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.process.log_tail()));
        let (status, answer) = (answer.status, answer.body);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        if status == 200 { Ok(answer["value"].clone()) } else { Err(answer) }
    }

    /// Does something with the first thing that is selected by this, once it is there. A page that keeps itself live may have made it
    /// anew meanwhile.
    async fn with(&self, css: &str, what: &str, body: &Value) {
        let done = async || {
            let found = self.ask("POST", "/element", &json!({ "using": "css selector", "value": css })).await;
            let Ok(found) = found else { return false };
            let element = found.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
            match self.ask("POST", &format!("/element/{element}/{what}"), body).await {
                Ok(_) => true,
                Err(answer) if answer["value"]["error"] == "stale element reference" => false,
                Err(answer) => panic!("{what} {css}: {answer}"),
            }
        };
        wait::until(&format!("{what} {css}"), SOON, done).await;
    }

    /// Goes to a page and waits until it is loaded.
    pub async fn go(&self, url: &str) {
        self.send("POST", "/url", &json!({ "url": url })).await;
    }

    /// The address of the page.
    pub async fn url(&self) -> String {
        self.send("GET", "/url", &Value::Null).await.as_str().unwrap().to_owned()
    }

    /// Whether something on the page is selected by this.
    pub async fn has(&self, css: &str) -> bool {
        let found = self.send("POST", "/elements", &json!({ "using": "css selector", "value": css })).await;
        !found.as_array().unwrap().is_empty()
    }

    /// Clicks on the first thing that is selected by this.
    pub async fn click(&self, css: &str) {
        self.with(css, "click", &json!({})).await;
    }

    /// Types into the first thing that is selected by this.
    pub async fn enter(&self, css: &str, text: &str) {
        self.with(css, "value", &json!({ "text": text })).await;
    }

    /// Presses a key of the keyboard, for example `\u{E004}` (tab) or `\u{E007}` (enter), wherever the focus is.
    pub async fn press(&self, key: &str) {
        let actions = json!([{ "type": "key", "id": "keyboard", "actions": [
            { "type": "keyDown", "value": key }, { "type": "keyUp", "value": key } ] }]);
        self.send("POST", "/actions", &json!({ "actions": actions })).await;
    }

    /// What stands on the page.
    pub async fn text(&self) -> String {
        self.script("return document.body.innerText").await.as_str().unwrap_or_default().to_owned()
    }

    /// What a script returns.
    pub async fn script(&self, script: &str) -> Value {
        self.send("POST", "/execute/sync", &json!({ "script": script, "args": [] })).await
    }

    /// Another size of the window.
    pub async fn resize(&self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics).await;
    }

    /// `light` or `dark`.
    pub async fn scheme(&self, scheme: &str) {
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", &media).await;
    }

    async fn devtools(&self, command: &str, params: &Value) {
        self.send("POST", "/goog/cdp/execute", &json!({ "cmd": command, "params": params })).await;
    }

    /// What the browser complained about since the last question: refused by the policy, not found, errors of scripts.
    pub async fn complaints(&self) -> Vec<String> {
        let entries = self.send("POST", "/se/log", &json!({ "type": "browser" })).await;
        entries.as_array().unwrap().iter().map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    /// A picture of the window, as a PNG file.
    pub async fn picture(&self, file: &Path) -> PathBuf {
        let picture = self.send("GET", "/screenshot", &Value::Null).await;
        let png = base64::engine::general_purpose::STANDARD.decode(picture.as_str().unwrap()).unwrap();
        std::fs::write(file, png).unwrap();
        file.to_owned()
    }
}
