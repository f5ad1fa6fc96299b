//! The response side of PEP 3333.

mod support;

use support::call;

#[test]
fn a_list_of_one_piece_has_a_known_length() {
    let (memory, result) = call(
        "def app(environ, start_response):\n    start_response('200 OK', [('Content-Type', 'text/plain')])\n    return [b'hello']\n",
    );
    result.unwrap();
    let head = memory.head();
    assert_eq!((head.status, head.reason.as_str(), head.length), (200, "OK", Some(5)));
    assert_eq!(memory.body, b"hello");
}
