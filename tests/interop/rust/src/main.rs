//! rumqttc, for 3.1.1 and 5.0. See ../programs.py.

use std::sync::mpsc::{channel, Receiver, Sender};
use std::time::Duration;
use std::{env, fs, io, process, thread};

const PATIENCE: Duration = Duration::from_secs(15);

/// What the thread of one connection tells.
enum Heard {
    Connected,
    Subscribed,
    Published,
    Ended(String),
}

struct Message {
    topic: String,
    payload: Vec<u8>,
    qos: u8,
    retain: bool,
}

#[derive(Clone)]
struct Options {
    name: String,
    keep: bool,
    password: String,
    tls: bool,
    will: Option<String>,
}

trait Client {
    fn subscribe(&self, filter: &str, qos: u8);
    fn publish(&self, topic: &str, payload: &[u8], qos: u8, retain: bool);
    fn leave(&self);
}

fn argument(place: usize) -> String {
    env::args().nth(place).expect("an argument is missing")
}

fn url(options: &Options) -> String {
    argument(if options.tls { 2 } else { 1 })
}

/// What the library takes for a host: of a WebSocket the whole URL.
fn host(options: &Options) -> String {
    let url = url(options);
    if url.starts_with("ws") { url } else { "localhost".into() }
}

fn port(options: &Options) -> u16 {
    let url = url(options);
    let rest = url.rsplit(':').next().unwrap();
    rest.split('/').next().unwrap().parse().unwrap()
}

fn transport(options: &Options) -> rumqttc::Transport {
    let ca = fs::read(argument(3)).unwrap();
    match url(options).split(':').next().unwrap() {
        "tcp" => rumqttc::Transport::tcp(),
        "tls" => rumqttc::Transport::tls(ca, None, None),
        "ws" => rumqttc::Transport::ws(),
        _ => rumqttc::Transport::wss(ca, None, None),
    }
}

macro_rules! version {
    ($module:ident, $crate_path:path, $qos:path, $configure:expr, $will:expr, $topic:expr) => {
        mod $module {
            use super::*;
            use $crate_path as mqtt;
            use $qos as QoS;

            pub struct Connected {
                client: mqtt::Client,
                heard: Receiver<Heard>,
            }

            fn qos(level: u8) -> QoS {
                [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][level as usize]
            }

            pub fn connect(options: &Options, messages: Sender<Message>) -> Result<Box<dyn Client>, String> {
                let mut o = mqtt::MqttOptions::new(options.name.clone(), host(options), port(options));
                o.set_credentials(argument(4), options.password.clone());
                o.set_keep_alive(Duration::from_secs(30));
                o.set_transport(transport(options));
                $configure(&mut o, options.keep);
                if let Some(topic) = &options.will {
                    o.set_last_will($will(topic.clone(), qos(1)));
                }
                let (client, mut connection) = mqtt::Client::new(o, 10);
                let (tell, heard) = channel();
                thread::spawn(move || {
                    for event in connection.iter() {
                        use mqtt::Event::Incoming;
                        let told = match event {
                            Ok(Incoming(mqtt::Incoming::ConnAck(_))) => Heard::Connected,
                            Ok(Incoming(mqtt::Incoming::SubAck(_))) => Heard::Subscribed,
                            Ok(Incoming(mqtt::Incoming::PubAck(_) | mqtt::Incoming::PubComp(_))) => Heard::Published,
                            Ok(Incoming(mqtt::Incoming::Publish(p))) => {
                                let message = Message {
                                    topic: $topic(&p.topic),
                                    payload: p.payload.to_vec(),
                                    qos: p.qos as u8,
                                    retain: p.retain,
                                };
                                if messages.send(message).is_err() {
                                    return;
                                }
                                continue;
                            }
                            Ok(_) => continue,
                            Err(error) => {
                                let _ = tell.send(Heard::Ended(error.to_string()));
                                return;
                            }
                        };
                        if tell.send(told).is_err() {
                            return;
                        }
                    }
                });
                match heard.recv_timeout(PATIENCE) {
                    Ok(Heard::Connected) => Ok(Box::new(Connected { client, heard })),
                    Ok(Heard::Ended(reason)) => Err(reason),
                    _ => Err("no CONNACK".into()),
                }
            }

            impl Client for Connected {
                fn subscribe(&self, filter: &str, level: u8) {
                    self.client.subscribe(filter, qos(level)).unwrap();
                    assert!(matches!(self.heard.recv_timeout(PATIENCE), Ok(Heard::Subscribed)));
                }

                fn publish(&self, topic: &str, payload: &[u8], level: u8, retain: bool) {
                    self.client.publish(topic, qos(level), retain, payload.to_vec()).unwrap();
                    if level > 0 {
                        assert!(matches!(self.heard.recv_timeout(PATIENCE), Ok(Heard::Published)));
                    }
                }

                fn leave(&self) {
                    self.client.disconnect().unwrap();
                    assert!(matches!(self.heard.recv_timeout(PATIENCE), Ok(Heard::Ended(_))));
                }
            }
        }
    };
}

version!(
    v4,
    rumqttc,
    rumqttc::QoS,
    |o: &mut rumqttc::MqttOptions, keep: bool| {
        o.set_clean_session(!keep).set_max_packet_size(2_000_000, 2_000_000);
    },
    |topic: String, qos| rumqttc::LastWill::new(topic, "gone", qos, false),
    |topic: &String| topic.clone()
);
version!(
    v5,
    rumqttc::v5,
    rumqttc::v5::mqttbytes::QoS,
    |o: &mut rumqttc::v5::MqttOptions, keep: bool| {
        o.set_clean_start(!keep).set_session_expiry_interval(Some(if keep { 3600 } else { 0 }));
        o.set_max_packet_size(Some(2_000_000));
    },
    |topic: String, qos| rumqttc::v5::mqttbytes::v5::LastWill::new(topic, "gone", qos, false, None),
    |topic: &[u8]| String::from_utf8(topic.to_vec()).unwrap()
);

fn main() {
    let tag = argument(6);
    let at = |name: &str| format!("{tag}/{name}");
    let (sender, messages) = channel();
    let connect = |name: &str, keep: bool, password: &str, tls: bool, will: Option<String>| {
        let options = Options { name: format!("{tag}-{name}"), keep, password: password.into(), tls, will };
        let connect = if argument(7) == "5" { v5::connect } else { v4::connect };
        connect(&options, sender.clone())
    };
    let named = |name: &str, keep: bool, tls: bool, will: Option<String>| {
        connect(name, keep, &argument(5), tls, will).unwrap_or_else(|reason| panic!("{name}: {reason}"))
    };
    let expect = |topic: &str, payload: &[u8]| {
        let message = messages.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("nothing on {topic}"));
        assert_eq!(message.topic, topic);
        assert!(message.payload == payload, "another payload on {topic}");
        message
    };

    named("first", false, false, None).leave();
    println!("login ok");
    assert!(connect("refused", false, "wrong horse", false, None).is_err(), "let in with a wrong password");
    println!("refused ok");
    named("tls", false, true, None).leave();
    println!("tls ok");

    let (reader, writer) = (named("reader", false, false, None), named("writer", false, false, None));
    reader.subscribe(&at("qos/#"), 2);
    for qos in 0..3 {
        let topic = at(&format!("qos/{qos}"));
        writer.publish(&topic, b"x", qos, false);
        assert_eq!(expect(&topic, b"x").qos, qos);
    }
    println!("qos ok");
    writer.publish(&at("kept"), b"on", 1, true);
    reader.subscribe(&at("kept"), 1);
    assert!(expect(&at("kept"), b"on").retain);
    println!("retained ok");
    reader.subscribe(&at("gone"), 1);
    let _mortal = named("mortal", false, false, Some(at("gone")));
    let successor = named("mortal", false, false, None);
    expect(&at("gone"), b"gone");
    successor.leave();
    println!("will ok");

    let lasting = named("lasting", true, false, None);
    lasting.subscribe(&at("later"), 1);
    lasting.leave();
    writer.publish(&at("later"), b"waited", 1, false);
    let back = named("lasting", true, false, None);
    expect(&at("later"), b"waited");
    println!("session ok");

    let large = vec![b'x'; 1_000_000];
    reader.subscribe(&at("large"), 1);
    writer.publish(&at("large"), &large, 1, false);
    expect(&at("large"), &large);
    println!("large ok");
    thread::sleep(Duration::from_millis(100)); // its acknowledgements are sent by the connections' threads
    for each in [reader, writer, back] {
        each.leave();
    }

    println!("restart");
    io::stdin().read_line(&mut String::new()).unwrap();
    let _back = named("lasting", true, false, None);
    named("writer", false, false, None).publish(&at("later"), b"after", 1, false);
    expect(&at("later"), b"after");
    println!("restart ok");
    process::exit(0);
}
