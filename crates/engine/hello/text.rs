//! The report while it grows: one buffer, written once.

use crate::sys;

/// Where values begin.
const COLUMN: usize = 16;
/// Where long values are broken.
const WIDTH: usize = 90;

pub(crate) struct Text {
    bytes: [u8; 6144],
    used: usize,
    line: usize,
}

impl Text {
    pub(crate) fn new() -> Text {
        Text {
            bytes: [0; 6144],
            used: 0,
            line: 0,
        }
    }

    /// Adds text; what does not fit is left out.
    pub(crate) fn add(&mut self, text: &[u8]) {
        for byte in text {
            if let Some(place) = self.bytes.get_mut(self.used) {
                *place = *byte;
                self.used += 1;
            }
        }
    }

    /// Adds text and ends the line.
    pub(crate) fn line(&mut self, text: &[u8]) {
        self.add(text);
        self.add(b"\n");
        self.line = self.used;
    }

    /// Begins a line: a name, and spaces up to the column of values.
    pub(crate) fn label(&mut self, name: &[u8]) {
        self.add(b"  ");
        self.add(name);
        self.column();
    }

    fn column(&mut self) {
        while self.used - self.line < COLUMN && self.used < self.bytes.len() {
            self.add(b" ");
        }
    }

    /// Adds a word of a list, given in pieces, on a new line if this one is full.
    pub(crate) fn word(&mut self, pieces: &[&[u8]]) {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        let width = self.used - self.line;
        if width > COLUMN && width + 1 + length > WIDTH {
            self.line(b"");
            self.column();
        } else if width > COLUMN {
            self.add(b" ");
        }
        for piece in pieces {
            self.add(piece);
        }
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.add(digits(number, &mut [0; 20]));
    }

    pub(crate) fn hex(&mut self, number: u64) {
        let mut shift = 60;
        while shift > 0 && number >> shift == 0 {
            shift -= 4;
        }
        loop {
            let digit = (number >> shift & 15) as u8;
            self.add(&[if digit < 10 {
                b'0' + digit
            } else {
                b'a' + digit - 10
            }]);
            if shift == 0 {
                return;
            }
            shift -= 4;
        }
    }

    /// Writes it all to standard output. `false` if that fails.
    pub(crate) fn print(&self) -> bool {
        sys::print(self.bytes.get(..self.used).unwrap_or_default())
    }
}

/// A number in decimal.
pub(crate) fn digits(mut number: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut first = buffer.len();
    for (place, digit) in buffer.iter_mut().enumerate().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        first = place;
        if number == 0 {
            break;
        }
    }
    buffer.get(first..).unwrap_or_default()
}
