"""Tells, on standard error, which responses an application left to the server's file wrapper."""


def witness(app):
    """The same application; what it returns reaches the server unchanged."""

    def witnessed(environ, start_response):
        response = app(environ, start_response)
        if type(response) is environ["wsgi.file_wrapper"]:
            errors = environ["wsgi.errors"]
            errors.write(f"left to the file wrapper: {environ['PATH_INFO']}\n")
            errors.flush()
        return response

    return witnessed
