//! A crawler against hosts that answer, that are busy, that never answer, and that fail.
#![cfg(unix)]

mod run;

use std::{
    io::{Read, Write},
    net::TcpListener,
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use run::{Live, assert_no_thread_left, assert_over_soon, fill, row, run, run_well};
use taskgroup_examples::{Reply, Web, get};

/// Longer than any of these programs takes.
const FOR_EVER: [&str; 2] = ["--patience-ms", "600000"];

fn host(web: &Web, host: usize) -> String {
    let url = web.url(host, "");
    url.strip_prefix("http://").unwrap().to_owned()
}

fn lines_with(output: &str, part: &str) -> usize {
    output.lines().filter(|line| line.contains(part)).count()
}

#[test]
fn it_finds_all_pages_that_there_are() {
    let web = Web::start(4, |host, path, nth| {
        match Web::small_reply(host, path, nth) {
            Reply::Nothing => Reply::Page(Vec::new()),
            reply => reply,
        }
    })
    .unwrap();
    let root = web.url(0, "/1");
    let args = [&FOR_EVER[..], &["--at-once", "5", &root]].concat();
    let output = run_well("crawler", &args);

    for (n, tally) in [
        "15 pages, 0 failed, 0 given up, 15 requests",
        "3 pages, 0 failed, 0 given up, 9 requests",
        "3 pages, 0 failed, 0 given up, 3 requests",
        "0 pages, 2 failed, 0 given up, 5 requests",
        "0 pages, 1 failed, 0 given up, 4 requests",
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(
            row(&output, &format!("{}:", host(&web, n))),
            tally,
            "{output}"
        );
    }

    // The hosts say the same.
    for (n, page, requests) in [
        (0, 1, 1),
        (0, 15, 1),
        (1, 3, 3),
        (2, 2, 1),
        (3, 1, 1),
        (3, 2, 4),
    ] {
        assert_eq!(web.requests(n, &format!("/{page}")), requests, "{output}");
    }

    assert!(web.most_at_once() <= 5, "{}", web.most_at_once());

    let status = |page| row(&output, &format!("{}:", web.url(3, page))).to_owned();
    assert_eq!([status("/1"), status("/2")], ["status 404", "status 500"]);
    assert_eq!(lines_with(&output, "onnection refused"), 1, "{output}");
    assert_no_thread_left(&output);
}

#[test]
fn it_keeps_to_the_rate() {
    const PAGES: usize = 10;
    let web = Web::start(1, |_, path, _| {
        Reply::Page(match path {
            "/" => (1..PAGES).map(|n| (0, format!("/{n}"))).collect(),
            _ => Vec::new(),
        })
    })
    .unwrap();
    let begun = Instant::now();
    let args = ["--rate", "20", &web.url(0, "/"), FOR_EVER[0], FOR_EVER[1]];
    let output = run_well("crawler", &args);
    let took = begun.elapsed();
    assert_eq!(
        row(&output, &format!("{}:", host(&web, 0))),
        "10 pages, 0 failed, 0 given up, 10 requests"
    );

    let least = Duration::from_millis(50) * (PAGES as u32 - 1);
    assert!(took >= least, "ten requests, twenty a second, in {took:?}");
}

#[test]
fn it_comes_back_when_a_busy_host_says() {
    let web = Web::start(1, |_, _, nth| match nth {
        1 => Reply::Busy(1),
        _ => Reply::Page(Vec::new()),
    })
    .unwrap();
    let begun = Instant::now();
    run_well("crawler", &[&FOR_EVER[..], &[&web.url(0, "/")]].concat());
    assert_eq!(web.requests(0, "/"), 2);
    assert!(
        begun.elapsed() >= Duration::from_secs(1),
        "it came too soon"
    );
}

#[test]
fn a_pause_beyond_the_patience_is_not_begun() {
    let web = Web::start(1, |_, _, _| Reply::Busy(3_600)).unwrap();
    let output = run_well("crawler", &[&FOR_EVER[..], &[&web.url(0, "/")]].concat());
    assert_eq!(row(&output, &format!("{}:", web.url(0, "/"))), "status 503");
    assert_eq!(web.requests(0, "/"), 1);
}

#[test]
fn the_first_failure_of_a_strict_crawl_stops_the_others() {
    let web = Web::small().unwrap();
    let root = web.url(0, "/1");
    let args = [&FOR_EVER[..], &["--strict", &root]].concat();
    let output = run("crawler", &args);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let failed = [web.url(3, "/1"), web.url(3, "/2"), web.url(4, "/1")];
    assert!(
        failed
            .iter()
            .any(|url| output.stderr.contains(&format!("task `{url}`"))),
        "{output:?}"
    );

    assert!(output.stderr.contains("group `crawl`"), "{output:?}");
    assert_no_thread_left(&output.stdout);
}

#[test]
fn ctrl_c_cuts_the_requests_in_flight_and_keeps_the_tally() {
    let web = Web::small().unwrap();
    let root = web.url(2, "/1");
    let args = [&FOR_EVER[..], &[&root]].concat();
    let crawler = Live::start("crawler", &args, Stdio::null());
    let begun = Instant::now();
    while web.requests(2, "/2") + web.requests(2, "/3") < 2 {
        assert!(begun.elapsed() < Duration::from_secs(60), "they never come");
        thread::sleep(Duration::from_millis(1));
    }

    crawler.interrupt();
    let output = crawler.end();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert_eq!(
        row(&output.stdout, &format!("{}:", host(&web, 2))),
        "1 pages, 0 failed, 0 given up, 3 requests"
    );

    assert_over_soon(&output.stdout);
    assert_no_thread_left(&output.stdout);
}

/// The reader is there and does not read, like a pager.
#[test]
fn ctrl_c_ends_a_crawl_whose_output_is_not_read() {
    let web = Web::start(1, |_, path, _| match path {
        "/1" => Reply::Page(vec![(0, "/2".to_owned())]),
        _ => Reply::Nothing,
    })
    .unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    let stdout = OwnedFd::from(near.try_clone().unwrap()).into();
    let args = [&*web.url(0, "/1"), FOR_EVER[0], FOR_EVER[1]];
    let crawler = Live::start_into("crawler", &args, Stdio::null(), stdout);

    // From its first output on, it handles signals. What it prints after that has no room.
    far.read_exact(&mut [0]).unwrap();
    fill(&near);
    crawler.interrupt();
    let output = crawler.end();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
}

#[test]
fn a_host_that_never_answers_is_given_up() {
    let web = Web::small().unwrap();
    let args = ["--patience-ms", "300", &web.url(2, "/2"), &web.url(2, "/3")];
    let output = run_well("crawler", &args);
    let tally = row(&output, &format!("{}:", host(&web, 2)));
    assert!(
        tally.starts_with("0 pages, 0 failed, 2 given up, "),
        "{output}"
    );
    let given_up = lines_with(&output, ": given up, no time is left for its host");
    assert_eq!(given_up, 2, "{output}");
    assert_no_thread_left(&output);
}

/// The answer would be 48 MiB long, and its end would not come before the crawler has given up.
#[test]
fn an_endless_answer_is_given_up() {
    // The bytes up to the limit end inside a character.
    let part = "\u{20ac}".repeat(1 << 14);
    for head in ["", "HTTP/1.0 200 OK\r\nContent-Length: 99999999999\r\n\r\n"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let part = part.clone();
        let server = thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            client.write_all(head.as_bytes())?;
            (0..1 << 10).try_for_each(|_| client.write_all(part.as_bytes()))
        });
        let error = get(&url.parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "the answer is too long");
        assert!(server.join().unwrap().is_err(), "it was cut off");
    }
}

#[test]
fn it_has_a_web_of_its_own() {
    let output = run("crawler", &[&FOR_EVER[..], &["--strict"]].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(lines_with(&output.stdout, " bytes") > 0, "{output:?}");
    assert_no_thread_left(&output.stdout);
}

#[test]
fn it_refuses_what_it_does_not_understand() {
    for (args, says) in [
        (&["ftp://127.0.0.1/"][..], "begins with http://"),
        (&["http:///page"], "not an address"),
        (&["--at-once", "0"], "'0' for '--at-once <N>'"),
        (&["--attempts", "0"], "'0' for '--attempts <N>'"),
        (&["--rate", "0"], "'0' for '--rate <N>'"),
    ] {
        let output = run("crawler", args);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(output.stderr.contains(says), "{output:?}");
    }
}
