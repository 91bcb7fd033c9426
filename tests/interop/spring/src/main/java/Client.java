import java.io.FileInputStream;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import org.eclipse.paho.client.mqttv3.MqttConnectOptions;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.context.annotation.Configuration;
import org.springframework.integration.channel.QueueChannel;
import org.springframework.integration.config.EnableIntegration;
import org.springframework.integration.mqtt.core.DefaultMqttPahoClientFactory;
import org.springframework.integration.mqtt.inbound.MqttPahoMessageDrivenChannelAdapter;
import org.springframework.integration.mqtt.outbound.MqttPahoMessageHandler;
import org.springframework.integration.mqtt.support.MqttHeaders;
import org.springframework.integration.support.MessageBuilder;
import org.springframework.messaging.Message;

/** Spring Integration's inbound and outbound adapters: 3.1.1, with their own reconnect. See ../programs.py. */
public final class Client {
    @Configuration
    @EnableIntegration
    static class Beans {}

    private static final QueueChannel MESSAGES = new QueueChannel();
    private static AnnotationConfigApplicationContext context;
    private static String[] given;
    private static String tag;

    public static void main(String[] arguments) throws Exception {
        given = arguments;
        tag = arguments[6];
        context = new AnnotationConfigApplicationContext(Beans.class);
        MqttPahoMessageHandler first = writer("first", factory(true, given[5], false, null));
        publish(first, "unheard", "x", 1, false);
        first.stop();
        said("login");
        try {
            publish(writer("refused", factory(true, "wrong horse", false, null)), "unheard", "x", 1, false);
            throw new AssertionError("let in with a wrong password");
        } catch (RuntimeException refused) {
            said("refused");
        }
        MqttPahoMessageHandler secure = writer("tls", factory(true, given[5], true, null));
        publish(secure, "unheard", "x", 1, false);
        secure.stop();
        said("tls");

        MqttPahoMessageHandler writer = writer("writer", factory(true, given[5], false, null));
        MqttPahoMessageDrivenChannelAdapter reader = reader("reader", true, null, 2, "qos/#");
        for (int qos = 0; qos < 3; qos++) {
            publish(writer, "qos/" + qos, "x", qos, false);
            check(expect("qos/" + qos, "x").getHeaders().get(MqttHeaders.RECEIVED_QOS).equals(qos), "another QoS");
        }
        said("qos");
        publish(writer, "kept", "on", 1, true);
        reader.addTopic(tag + "/kept", 1);
        check((Boolean) expect("kept", "on").getHeaders().get(MqttHeaders.RECEIVED_RETAINED), "without the flag");
        said("retained");
        reader.addTopic(tag + "/gone", 1);
        MqttPahoMessageHandler mortal = writer("mortal", factory(true, given[5], false, "gone"));
        publish(mortal, "unheard", "x", 1, false);
        MqttPahoMessageHandler successor = writer("mortal", factory(true, given[5], false, null));
        publish(successor, "unheard", "x", 1, false);
        expect("gone", "gone");
        successor.stop();
        said("will");

        MqttPahoMessageDrivenChannelAdapter lasting = reader("lasting", false, null, 1, "later");
        lasting.stop();
        publish(writer, "later", "waited", 1, false);
        lasting.start();
        expect("later", "waited");
        said("session");

        String large = "x".repeat(1_000_000);
        reader.addTopic(tag + "/large", 1);
        publish(writer, "large", large, 1, false);
        expect("large", large);
        said("large");

        System.out.println("restart");
        check(System.in.read() > 0, "nobody restarted the node");
        long deadline = System.nanoTime() + 40_000_000_000L;
        while (true) { // the adapters connect again by themselves
            try {
                publish(writer, "later", "after", 1, false);
                break;
            } catch (RuntimeException away) {
                check(System.nanoTime() < deadline, "the writer does not come back");
                Thread.sleep(200);
            }
        }
        expect("later", "after");
        said("restart");
        System.exit(0);
    }

    private static DefaultMqttPahoClientFactory factory(boolean clean, String password, boolean tls, String will)
            throws Exception {
        MqttConnectOptions options = new MqttConnectOptions();
        options.setServerURIs(
                new String[] {tls ? "ssl://localhost:" + given[1] : "tcp://localhost:" + given[0]});
        options.setUserName(given[4]);
        options.setPassword(password.toCharArray());
        options.setCleanSession(clean);
        options.setAutomaticReconnect(false);
        options.setConnectionTimeout(15);
        if (will != null) {
            options.setWill(tag + "/" + will, "gone".getBytes(), 1, false);
        }
        if (tls) {
            KeyStore known = KeyStore.getInstance(KeyStore.getDefaultType());
            known.load(null, null);
            try (FileInputStream pem = new FileInputStream(given[3])) {
                known.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(pem));
            }
            TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
            trust.init(known);
            SSLContext ssl = SSLContext.getInstance("TLS");
            ssl.init(null, trust.getTrustManagers(), null);
            options.setSocketFactory(ssl.getSocketFactory());
        }
        DefaultMqttPahoClientFactory made = new DefaultMqttPahoClientFactory();
        made.setConnectionOptions(options);
        return made;
    }

    private static MqttPahoMessageHandler writer(String name, DefaultMqttPahoClientFactory factory) {
        MqttPahoMessageHandler handler = new MqttPahoMessageHandler(tag + "-" + name, factory);
        handler.setCompletionTimeout(15_000);
        context.getBeanFactory().initializeBean(handler, name + "-" + System.nanoTime());
        handler.start();
        return handler;
    }

    private static MqttPahoMessageDrivenChannelAdapter reader(
            String name, boolean clean, String will, int qos, String filter) throws Exception {
        MqttPahoMessageDrivenChannelAdapter adapter = new MqttPahoMessageDrivenChannelAdapter(
                tag + "-" + name, factory(clean, given[5], false, will), tag + "/" + filter);
        adapter.setQos(qos);
        adapter.setRecoveryInterval(500);
        adapter.setCompletionTimeout(15_000);
        adapter.setOutputChannel(MESSAGES);
        context.getBeanFactory().initializeBean(adapter, name);
        adapter.start();
        return adapter;
    }

    private static void publish(MqttPahoMessageHandler handler, String topic, String payload, int qos, boolean keep) {
        handler.handleMessage(MessageBuilder.withPayload(payload)
                .setHeader(MqttHeaders.TOPIC, tag + "/" + topic)
                .setHeader(MqttHeaders.QOS, qos)
                .setHeader(MqttHeaders.RETAINED, keep)
                .build());
    }

    private static Message<?> expect(String topic, String payload) {
        Message<?> message = MESSAGES.receive(20_000);
        check(message != null, "nothing on " + topic);
        Object where = message.getHeaders().get(MqttHeaders.RECEIVED_TOPIC);
        check((tag + "/" + topic).equals(where), "another message, on " + where);
        check(payload.equals(message.getPayload()), "another payload on " + topic);
        return message;
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
