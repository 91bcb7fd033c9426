import io.netty.handler.codec.mqtt.MqttQoS;
import io.vertx.core.Future;
import io.vertx.core.Vertx;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.net.PemTrustOptions;
import io.vertx.mqtt.MqttClient;
import io.vertx.mqtt.MqttClientOptions;
import io.vertx.mqtt.messages.MqttPublishMessage;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** Vert.x' MQTT client: 3.1.1. See ../programs.py. */
public final class Client {
    private static final Vertx VERTX = Vertx.vertx();
    private static final BlockingQueue<MqttPublishMessage> MESSAGES = new LinkedBlockingQueue<>();
    private static String[] given;
    private static String tag;

    private final MqttClient client;
    private final BlockingQueue<Integer> completed = new LinkedBlockingQueue<>();

    private Client(MqttClient client) {
        this.client = client;
        client.publishHandler(MESSAGES::add);
        client.subscribeCompletionHandler(suback -> completed.add(suback.messageId()));
        client.publishCompletionHandler(completed::add);
    }

    public static void main(String[] arguments) throws Exception {
        given = arguments;
        tag = arguments[5];
        named("first", true, false, null).leave();
        said("login");
        try {
            connect("refused", true, "wrong horse", false, null);
            throw new IllegalStateException("let in with a wrong password");
        } catch (java.util.concurrent.ExecutionException refused) {
            said("refused");
        }
        named("tls", true, true, null).leave();
        said("tls");

        Client reader = named("reader", true, false, null);
        Client writer = named("writer", true, false, null);
        reader.subscribe("qos/#", 2);
        for (int qos = 0; qos < 3; qos++) {
            writer.publish("qos/" + qos, "x", qos, false);
            check(expect("qos/" + qos, "x").qosLevel().value() == qos, "another QoS");
        }
        said("qos");
        writer.publish("kept", "on", 1, true);
        reader.subscribe("kept", 1);
        check(expect("kept", "on").isRetain(), "without the flag");
        said("retained");
        reader.subscribe("gone", 1);
        named("mortal", true, false, "gone");
        Client successor = named("mortal", true, false, null);
        expect("gone", "gone");
        successor.leave();
        said("will");

        Client lasting = named("lasting", false, false, null);
        lasting.subscribe("later", 1);
        lasting.leave();
        writer.publish("later", "waited", 1, false);
        Client back = named("lasting", false, false, null);
        expect("later", "waited");
        said("session");

        String large = "x".repeat(1_000_000);
        reader.subscribe("large", 1);
        writer.publish("large", large, 1, false);
        expect("large", large);
        said("large");
        for (Client each : new Client[] {reader, writer, back}) {
            each.leave();
        }

        System.out.println("restart");
        check(System.in.read() > 0, "nobody restarted the node");
        named("lasting", false, false, null);
        named("writer", true, false, null).publish("later", "after", 1, false);
        expect("later", "after");
        said("restart");
        System.exit(0);
    }

    private static Client named(String name, boolean clean, boolean tls, String will) throws Exception {
        return connect(name, clean, given[4], tls, will);
    }

    private static Client connect(String name, boolean clean, String password, boolean tls, String will)
            throws Exception {
        MqttClientOptions options = new MqttClientOptions()
                .setClientId(tag + "-" + name)
                .setUsername(given[3])
                .setPassword(password)
                .setCleanSession(clean)
                .setMaxMessageSize(2_000_000);
        if (tls) {
            options.setSsl(true)
                    .setTrustOptions(new PemTrustOptions().addCertPath(given[2]))
                    .setHostnameVerificationAlgorithm("HTTPS");
        }
        if (will != null) {
            options.setWillFlag(true)
                    .setWillTopic(tag + "/" + will)
                    .setWillMessageBytes(Buffer.buffer("gone"))
                    .setWillQoS(1);
        }
        Client made = new Client(MqttClient.create(VERTX, options));
        wait(made.client.connect(java.net.URI.create(given[tls ? 1 : 0]).getPort(), "localhost"));
        return made;
    }

    private void subscribe(String filter, int qos) throws Exception {
        wait(client.subscribe(tag + "/" + filter, qos));
        check(completed.poll(15, TimeUnit.SECONDS) != null, "no SUBACK");
    }

    private void publish(String topic, String payload, int qos, boolean retain) throws Exception {
        wait(client.publish(tag + "/" + topic, Buffer.buffer(payload), MqttQoS.valueOf(qos), false, retain));
        check(qos == 0 || completed.poll(15, TimeUnit.SECONDS) != null, "no acknowledgement");
    }

    private void leave() throws Exception {
        wait(client.disconnect());
    }

    private static <T> T wait(Future<T> future) throws Exception {
        return future.toCompletionStage().toCompletableFuture().get(15, TimeUnit.SECONDS);
    }

    private static MqttPublishMessage expect(String topic, String payload) throws Exception {
        MqttPublishMessage message = MESSAGES.poll(15, TimeUnit.SECONDS);
        check(message != null, "nothing on " + topic);
        check(message.topicName().equals(tag + "/" + topic), "another message, on " + message.topicName());
        check(message.payload().toString().equals(payload), "another payload on " + topic);
        return message;
    }

    private static void check(boolean holds, String otherwise) {
        if (!holds) {
            throw new IllegalStateException(otherwise);
        }
    }

    private static void said(String step) {
        System.out.println(step + " ok");
    }
}
