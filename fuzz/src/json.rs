//! A reader of JSON as RFC 8259 has it, which keeps what others throw away: every member of an object in its
//! order, also those given twice, and the text of each string and number as it was written.

/// A value, as it was written.
#[derive(Debug)]
pub enum Json<'t> {
    /// Members in their order.
    Object(Vec<(Text<'t>, Json<'t>)>),
    /// Elements in their order.
    Array(Vec<Json<'t>>),
    /// A string.
    String(Text<'t>),
    /// A number, or `true`, `false`, `null`.
    Scalar(&'t str),
}

/// What stands between the quotes of a string.
#[derive(Clone, Copy, Debug)]
pub struct Text<'t>(pub &'t str);

impl Text<'_> {
    /// The characters it spells; none if it spells half of a surrogate pair.
    pub fn spelt(self) -> Option<String> {
        let mut units = Vec::new();
        let mut rest = self.0.chars();
        while let Some(next) = rest.next() {
            if next != '\\' {
                units.extend(next.encode_utf16(&mut [0; 2]).iter());
                continue;
            }
            units.push(match rest.next().expect("an escape was read whole") {
                'u' => {
                    let digits: String = rest.by_ref().take(4).collect();
                    u16::from_str_radix(&digits, 16).expect("four digits were read")
                }
                'b' => 8,
                'f' => 12,
                'n' => 10,
                'r' => 13,
                't' => 9,
                other => u16::try_from(u32::from(other)).expect("an escape is ASCII"),
            });
        }
        String::from_utf16(&units).ok()
    }

    /// Whether it spells `name`.
    pub fn is(self, name: &str) -> bool {
        self.spelt().is_some_and(|spelt| spelt == name)
    }
}

impl<'t> Json<'t> {
    /// The members, if it is an object.
    pub fn members(&self) -> Option<&[(Text<'t>, Json<'t>)]> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// How many containers stand around its innermost value, itself counted.
    pub fn depth(&self) -> usize {
        match self {
            Self::Object(members) => 1 + members.iter().map(|(_, value)| value.depth()).max().unwrap_or(0),
            Self::Array(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Self::String(_) | Self::Scalar(_) => 0,
        }
    }
}

/// Reads one document. Nothing, if it is not JSON; nesting beyond a few hundred levels is not asked about.
pub fn read(bytes: &[u8]) -> Option<Json<'_>> {
    let mut reader = Reader { text: std::str::from_utf8(bytes).ok()?, depth: 0 };
    reader.space();
    let value = reader.value()?;
    reader.space();
    reader.text.is_empty().then_some(value)
}

struct Reader<'t> {
    text: &'t str,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn space(&mut self) {
        self.text = self.text.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn take(&mut self, token: &str) -> Option<()> {
        self.text = self.text.strip_prefix(token)?;
        Some(())
    }

    fn value(&mut self) -> Option<Json<'t>> {
        match self.text.bytes().next()? {
            b'{' => self
                .list('{', '}', |reader| {
                    let name = reader.string()?;
                    reader.space();
                    reader.take(":")?;
                    reader.space();
                    Some((name, reader.value()?))
                })
                .map(Json::Object),
            b'[' => self.list('[', ']', Self::value).map(Json::Array),
            b'"' => self.string().map(Json::String),
            _ => self.scalar().map(Json::Scalar),
        }
    }

    fn list<T>(&mut self, open: char, close: char, item: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        self.depth += 1;
        if self.depth > 400 {
            return None;
        }
        self.text = self.text.strip_prefix(open)?;
        self.space();
        let mut items = Vec::new();
        while !self.text.starts_with(close) {
            if !items.is_empty() {
                self.take(",")?;
                self.space();
            }
            items.push(item(self)?);
            self.space();
        }
        self.text = &self.text[1..];
        self.depth -= 1;
        Some(items)
    }

    fn string(&mut self) -> Option<Text<'t>> {
        self.take("\"")?;
        let all = self.text;
        let mut bytes = all.bytes().enumerate();
        loop {
            match bytes.next()? {
                (at, b'"') => {
                    self.text = &all[at + 1..];
                    return Some(Text(&all[..at]));
                }
                (_, b'\\') => match bytes.next()?.1 {
                    b'u' => {
                        for _ in 0..4 {
                            bytes.next().filter(|(_, byte)| byte.is_ascii_hexdigit())?;
                        }
                    }
                    byte => {
                        b"\"\\/bfnrt".contains(&byte).then_some(())?;
                    }
                },
                (_, byte) => (byte >= b' ').then_some(())?,
            }
        }
    }

    fn scalar(&mut self) -> Option<&'t str> {
        let end = self.text.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)));
        let (token, rest) = self.text.split_at(end.unwrap_or(self.text.len()));
        self.text = rest;
        (matches!(token, "true" | "false" | "null") || is_number(token)).then_some(token)
    }
}

/// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
fn is_number(token: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = match token.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (token, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}
