//! PEP 3333 by PyO3.
