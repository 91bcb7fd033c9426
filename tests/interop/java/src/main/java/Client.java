import java.io.FileInputStream;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Arrays;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocketFactory;
import javax.net.ssl.TrustManagerFactory;
import org.eclipse.paho.client.mqttv3.IMqttDeliveryToken;
import org.eclipse.paho.client.mqttv3.MqttCallback;
import org.eclipse.paho.client.mqttv3.MqttClient;
import org.eclipse.paho.client.mqttv3.MqttConnectOptions;
import org.eclipse.paho.client.mqttv3.MqttException;
import org.eclipse.paho.client.mqttv3.MqttMessage;
import org.eclipse.paho.client.mqttv3.persist.MemoryPersistence;

/** Eclipse Paho's client for Java; the last argument is the version, 3 or 4. See ../programs.py. */
public final class Client {
    private record Received(String topic, MqttMessage message) {}

    private static final BlockingQueue<Received> MESSAGES = new LinkedBlockingQueue<>();
    private static String[] given;
    private static String tag;

    public static void main(String[] arguments) throws Exception {
        given = arguments;
        tag = arguments[5];
        named("first", true, false, null).disconnect();
        said("login");
        try {
            connect("refused", true, "wrong horse", false, null);
            throw new AssertionError("let in with a wrong password");
        } catch (MqttException refused) {
            said("refused");
        }
        named("tls", true, true, null).disconnect();
        said("tls");

        MqttClient reader = named("reader", true, false, null);
        MqttClient writer = named("writer", true, false, null);
        reader.subscribe(tag + "/qos/#", 2);
        for (int qos = 0; qos < 3; qos++) {
            writer.publish(tag + "/qos/" + qos, bytes("x"), qos, false);
            check(expect(tag + "/qos/" + qos, bytes("x")).getQos() == qos, "another QoS");
        }
        said("qos");
        writer.publish(tag + "/kept", bytes("on"), 1, true);
        reader.subscribe(tag + "/kept", 1);
        check(expect(tag + "/kept", bytes("on")).isRetained(), "without the flag");
        said("retained");
        reader.subscribe(tag + "/gone", 1);
        named("mortal", true, false, tag + "/gone");
        MqttClient successor = named("mortal", true, false, null);
        expect(tag + "/gone", bytes("gone"));
        successor.disconnect();
        said("will");

        MqttClient lasting = named("lasting", false, false, null);
        lasting.subscribe(tag + "/later", 1);
        lasting.disconnect();
        writer.publish(tag + "/later", bytes("waited"), 1, false);
        MqttClient back = named("lasting", false, false, null);
        expect(tag + "/later", bytes("waited"));
        said("session");

        byte[] large = new byte[1_000_000];
        Arrays.fill(large, (byte) 'x');
        reader.subscribe(tag + "/large", 1);
        writer.publish(tag + "/large", large, 1, false);
        expect(tag + "/large", large);
        said("large");
        for (MqttClient each : new MqttClient[] {reader, writer, back}) {
            each.disconnect();
        }

        System.out.println("restart");
        check(System.in.read() > 0, "nobody restarted the node");
        named("lasting", false, false, null);
        named("writer", true, false, null).publish(tag + "/later", bytes("after"), 1, false);
        expect(tag + "/later", bytes("after"));
        said("restart");
        System.exit(0);
    }

    private static MqttClient named(String name, boolean clean, boolean tls, String will) throws Exception {
        return connect(name, clean, given[4], tls, will);
    }

    private static MqttClient connect(String name, boolean clean, String password, boolean tls, String will)
            throws Exception {
        String uri = given[tls ? 1 : 0].replace("tls:", "ssl:");
        MqttClient client = new MqttClient(uri, tag + "-" + name, new MemoryPersistence());
        client.setTimeToWait(15_000);
        client.setCallback(new MqttCallback() {
            @Override
            public void connectionLost(Throwable cause) {}

            @Override
            public void messageArrived(String topic, MqttMessage message) {
                MESSAGES.add(new Received(topic, message));
            }

            @Override
            public void deliveryComplete(IMqttDeliveryToken token) {}
        });
        MqttConnectOptions options = new MqttConnectOptions();
        options.setMqttVersion(Integer.parseInt(given[6]));
        options.setCleanSession(clean);
        options.setUserName(given[3]);
        options.setPassword(password.toCharArray());
        options.setConnectionTimeout(15);
        if (uri.startsWith("ssl:") || uri.startsWith("wss:")) {
            options.setSocketFactory(trusting(given[2]));
            options.setHttpsHostnameVerificationEnabled(true);
        }
        if (will != null) {
            options.setWill(will, bytes("gone"), 1, false);
        }
        client.connect(options);
        return client;
    }

    private static SSLSocketFactory trusting(String file) throws Exception {
        KeyStore known = KeyStore.getInstance(KeyStore.getDefaultType());
        known.load(null, null);
        try (FileInputStream pem = new FileInputStream(file)) {
            known.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(pem));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(known);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context.getSocketFactory();
    }

    private static MqttMessage expect(String topic, byte[] payload) throws Exception {
        Received received = MESSAGES.poll(15, TimeUnit.SECONDS);
        check(received != null, "nothing on " + topic);
        check(received.topic().equals(topic), "another message, on " + received.topic());
        check(Arrays.equals(received.message().getPayload(), payload), "another payload on " + topic);
        return received.message();
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static void check(boolean holds, String otherwise) {
        if (!holds) {
            throw new AssertionError(otherwise);
        }
    }

    private static void said(String step) {
        System.out.println(step + " ok");
    }
}
