//! What the processes are called: `rgunicorn: master [shop]`.

use std::cell::RefCell;
use std::rc::Rc;

use rgunicorn_arbiter::Arbiter;

use crate::proctitle;
use crate::settings::Settings;

/// The name in the titles, for the arbiter's two halves; workers take a copy.
#[derive(Clone, Debug)]
pub(crate) struct Title(Rc<RefCell<Name>>);

#[derive(Debug)]
struct Name {
    name: String,
    /// As long as another arbiter has the name, this one's has `.2` behind it, as under gunicorn.
    is_successor: bool,
}

impl Title {
    pub(crate) fn new(settings: &Settings) -> Self {
        let is_successor = Arbiter::predecessor().is_some();
        Self(Rc::new(RefCell::new(Name { name: name_in(settings), is_successor })))
    }

    /// Takes the name from other settings, and shows it as the arbiter's.
    pub(crate) fn rename(&self, settings: &Settings) {
        self.0.borrow_mut().name = name_in(settings);
        self.show("master");
    }

    /// The arbiter that had the name is gone.
    pub(crate) fn promote(&self) {
        self.0.borrow_mut().is_successor = false;
        self.show("master");
    }

    /// Also scripts that look for `gunicorn: master` find it.
    pub(crate) fn show(&self, role: &str) {
        let name = self.0.borrow();
        let second = if name.is_successor { ".2" } else { "" };
        proctitle::set(&format!("rgunicorn: {role} [{}{second}]", name.name));
    }
}

fn name_in(settings: &Settings) -> String {
    let default = settings.default_proc_name.as_ref().unwrap_or(&settings.wsgi_app);
    settings.proc_name.as_ref().unwrap_or(default).clone()
}
