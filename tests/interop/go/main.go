// Eclipse Paho's client for Go; the last argument is the version, 3 or 4. See ../programs.py.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strconv"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

const patience = 15 * time.Second

var (
	plain, secure, ca = os.Args[1], os.Args[2], os.Args[3]
	user, pass, tag   = os.Args[4], os.Args[5], os.Args[6]
	version           = os.Args[7]
	messages          = make(chan mqtt.Message, 100)
	standardInput     = bufio.NewReader(os.Stdin)
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func done(token mqtt.Token) error {
	if !token.WaitTimeout(patience) {
		return fmt.Errorf("no answer in time")
	}
	return token.Error()
}

type how struct {
	keep     bool
	password string
	tls      bool
	will     string
}

func connect(name string, options how) (mqtt.Client, error) {
	number, err := strconv.Atoi(version)
	must(err)
	o := mqtt.NewClientOptions().SetClientID(tag + "-" + name).SetProtocolVersion(uint(number)).
		SetCleanSession(!options.keep).SetAutoReconnect(false).SetUsername(user).SetPassword(pass).
		SetDefaultPublishHandler(func(_ mqtt.Client, message mqtt.Message) { messages <- message })
	if options.password != "" {
		o.SetPassword(options.password)
	}
	pem, err := os.ReadFile(ca)
	must(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	o.SetTLSConfig(&tls.Config{RootCAs: pool})
	if options.tls {
		o.AddBroker(secure)
	} else {
		o.AddBroker(plain)
	}
	if options.will != "" {
		o.SetWill(options.will, "gone", 1, false)
	}
	client := mqtt.NewClient(o)
	return client, done(client.Connect())
}

func named(name string, options how) mqtt.Client {
	client, err := connect(name, options)
	must(err)
	return client
}

func publish(client mqtt.Client, topic string, payload []byte, qos byte, retain bool) {
	must(done(client.Publish(topic, qos, retain, payload)))
}

func subscribe(client mqtt.Client, topic string, qos byte) { must(done(client.Subscribe(topic, qos, nil))) }

func expect(topic string, payload []byte) mqtt.Message {
	select {
	case message := <-messages:
		if message.Topic() != topic || !bytes.Equal(message.Payload(), payload) {
			panic("another message on " + message.Topic())
		}
		return message
	case <-time.After(patience):
		panic("nothing on " + topic)
	}
}

func main() {
	named("first", how{}).Disconnect(100)
	fmt.Println("login ok")
	if _, err := connect("refused", how{password: "wrong horse"}); err == nil {
		panic("let in with a wrong password")
	}
	fmt.Println("refused ok")
	named("tls", how{tls: true}).Disconnect(100)
	fmt.Println("tls ok")

	reader, writer := named("reader", how{}), named("writer", how{})
	subscribe(reader, tag+"/qos/#", 2)
	for qos := byte(0); qos < 3; qos++ {
		topic := fmt.Sprintf("%s/qos/%d", tag, qos)
		publish(writer, topic, []byte("x"), qos, false)
		if message := expect(topic, []byte("x")); message.Qos() != qos {
			panic("another QoS")
		}
	}
	fmt.Println("qos ok")
	publish(writer, tag+"/kept", []byte("on"), 1, true)
	subscribe(reader, tag+"/kept", 1)
	if !expect(tag+"/kept", []byte("on")).Retained() {
		panic("without the flag")
	}
	fmt.Println("retained ok")
	subscribe(reader, tag+"/gone", 1)
	named("mortal", how{will: tag + "/gone"})
	successor := named("mortal", how{})
	expect(tag+"/gone", []byte("gone"))
	successor.Disconnect(100)
	fmt.Println("will ok")

	lasting := named("lasting", how{keep: true})
	subscribe(lasting, tag+"/later", 1)
	lasting.Disconnect(100)
	publish(writer, tag+"/later", []byte("waited"), 1, false)
	back := named("lasting", how{keep: true})
	expect(tag+"/later", []byte("waited"))
	fmt.Println("session ok")

	large := bytes.Repeat([]byte("x"), 1_000_000)
	subscribe(reader, tag+"/large", 1)
	publish(writer, tag+"/large", large, 1, false)
	expect(tag+"/large", large)
	fmt.Println("large ok")
	for _, each := range []mqtt.Client{reader, writer, back} {
		each.Disconnect(100)
	}

	fmt.Println("restart")
	_, err := standardInput.ReadString('\n')
	must(err)
	named("lasting", how{keep: true})
	publish(named("writer", how{}), tag+"/later", []byte("after"), 1, false)
	expect(tag+"/later", []byte("after"))
	fmt.Println("restart ok")
}
