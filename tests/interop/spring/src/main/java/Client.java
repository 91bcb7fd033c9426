import java.io.FileInputStream;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocketFactory;
import javax.net.ssl.TrustManagerFactory;
import org.eclipse.paho.client.mqttv3.MqttConnectOptions;
import org.eclipse.paho.mqttv5.client.MqttConnectionOptions;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.context.annotation.Configuration;
import org.springframework.integration.channel.QueueChannel;
import org.springframework.integration.config.EnableIntegration;
import org.springframework.integration.mqtt.core.DefaultMqttPahoClientFactory;
import org.springframework.integration.mqtt.event.MqttConnectionFailedEvent;
import org.springframework.integration.mqtt.event.MqttIntegrationEvent;
import org.springframework.integration.mqtt.event.MqttSubscribedEvent;
import org.springframework.integration.mqtt.inbound.AbstractMqttMessageDrivenChannelAdapter;
import org.springframework.integration.mqtt.inbound.MqttPahoMessageDrivenChannelAdapter;
import org.springframework.integration.mqtt.inbound.Mqttv5PahoMessageDrivenChannelAdapter;
import org.springframework.integration.mqtt.outbound.AbstractMqttMessageHandler;
import org.springframework.integration.mqtt.outbound.MqttPahoMessageHandler;
import org.springframework.integration.mqtt.outbound.Mqttv5PahoMessageHandler;
import org.springframework.integration.mqtt.support.DefaultPahoMessageConverter;
import org.springframework.integration.mqtt.support.MqttHeaders;
import org.springframework.messaging.Message;
import org.springframework.messaging.support.GenericMessage;

/**
 * Spring Integration's channel adapters; the last argument is the version, 4 or 5. See ../programs.py.
 *
 * <p>An adapter's start() returns before its SUBSCRIBE is answered; what is published until then at QoS 0 it does
 * not get from any broker. MqttSubscribedEvent says when it is.
 */
public final class Client {
    @Configuration
    @EnableIntegration
    static class Application {}

    private static final QueueChannel MESSAGES = new QueueChannel();
    private static final BlockingQueue<MqttIntegrationEvent> EVENTS = new LinkedBlockingQueue<>();
    private static final AnnotationConfigApplicationContext CONTEXT = new AnnotationConfigApplicationContext();
    private static String[] given;
    private static String tag;

    private record How(boolean clean, String password, boolean secure, String will) {}

    public static void main(String[] arguments) throws Exception {
        given = arguments;
        tag = arguments[5];
        CONTEXT.register(Application.class);
        CONTEXT.addApplicationListener(event -> {
            if (event instanceof MqttSubscribedEvent || event instanceof MqttConnectionFailedEvent) {
                EVENTS.add((MqttIntegrationEvent) event);
            }
        });
        CONTEXT.refresh();
        reader("first", usual(), 1, "first").stop();
        said("login");
        try {
            reader("refused", new How(true, "wrong horse", false, null), 1, "refused");
            throw new AssertionError("let in with a wrong password");
        } catch (IllegalStateException refused) {
            said("refused");
        }
        reader("tls", new How(true, given[4], true, null), 1, "tls").stop();
        said("tls");

        AbstractMqttMessageHandler<?, ?> writer = writer("writer", usual());
        AbstractMqttMessageDrivenChannelAdapter<?, ?> reader = reader("reader", usual(), 2, "qos/#");
        for (int qos = 0; qos < 3; qos++) {
            publish(writer, "qos/" + qos, bytes("x"), qos, false);
            Object received = expect("qos/" + qos, bytes("x")).getHeaders().get(MqttHeaders.RECEIVED_QOS);
            check(received.equals(qos), "QoS " + received);
        }
        said("qos");
        publish(writer, "kept", bytes("on"), 1, true);
        reader.addTopic(tag + "/kept", 1);
        Object retained = expect("kept", bytes("on")).getHeaders().get(MqttHeaders.RECEIVED_RETAINED);
        check(retained.equals(true), "without the flag");
        said("retained");
        reader.addTopic(tag + "/gone", 1);
        reader("mortal", new How(true, given[4], false, "gone"), 1, "mortal");
        AbstractMqttMessageDrivenChannelAdapter<?, ?> successor = reader("mortal", usual(), 1, "mortal");
        expect("gone", bytes("gone"));
        successor.stop();
        said("will");

        How lasting = new How(false, given[4], false, null);
        AbstractMqttMessageDrivenChannelAdapter<?, ?> back = reader("lasting", lasting, 1, "later");
        back.stop();
        publish(writer, "later", bytes("waited"), 1, false);
        back = reader("lasting", lasting, 1, "later");
        expect("later", bytes("waited"));
        said("session");

        byte[] large = new byte[1_000_000];
        Arrays.fill(large, (byte) 'x');
        reader.addTopic(tag + "/large", 1);
        publish(writer, "large", large, 1, false);
        expect("large", large);
        said("large");
        reader.stop();
        writer.stop();
        back.stop();

        System.out.println("restart");
        check(System.in.read() > 0, "nobody restarted the node");
        reader("lasting", lasting, 1, "later");
        publish(writer("writer", usual()), "later", bytes("after"), 1, false);
        expect("later", bytes("after"));
        said("restart");
        System.exit(0);
    }

    private static How usual() {
        return new How(true, given[4], false, null);
    }

    /** A started adapter whose subscription the broker has answered. */
    private static AbstractMqttMessageDrivenChannelAdapter<?, ?> reader(String name, How how, int qos, String filter)
            throws Exception {
        String id = tag + "-" + name;
        String topic = tag + "/" + filter;
        AbstractMqttMessageDrivenChannelAdapter<?, ?> adapter;
        if (given[6].equals("5")) {
            Mqttv5PahoMessageDrivenChannelAdapter five = new Mqttv5PahoMessageDrivenChannelAdapter(five(how), id, topic);
            five.setPayloadType(byte[].class);
            adapter = five;
        } else {
            adapter = new MqttPahoMessageDrivenChannelAdapter(url(how), id, four(how), topic);
            DefaultPahoMessageConverter converter = new DefaultPahoMessageConverter();
            converter.setPayloadAsBytes(true);
            converter.setBeanFactory(CONTEXT.getBeanFactory());
            adapter.setConverter(converter);
        }
        adapter.setQos(qos);
        adapter.setOutputChannel(MESSAGES);
        CONTEXT.getAutowireCapableBeanFactory().initializeBean(adapter, id + "-" + System.nanoTime());
        EVENTS.clear();
        adapter.start();
        while (true) {
            MqttIntegrationEvent event = EVENTS.poll(15, TimeUnit.SECONDS);
            check(event != null, "not subscribed: " + name);
            if (event.getSource() == adapter && event instanceof MqttSubscribedEvent) {
                return adapter;
            }
            if (event.getSource() == adapter) {
                adapter.stop();
                throw new IllegalStateException(String.valueOf(event.getCause()));
            }
        }
    }

    private static AbstractMqttMessageHandler<?, ?> writer(String name, How how) throws Exception {
        String id = tag + "-" + name;
        AbstractMqttMessageHandler<?, ?> handler = given[6].equals("5")
                ? new Mqttv5PahoMessageHandler(five(how), id)
                : new MqttPahoMessageHandler(url(how), id, four(how));
        CONTEXT.getAutowireCapableBeanFactory().initializeBean(handler, id + "-" + System.nanoTime());
        handler.start();
        return handler;
    }

    private static void publish(AbstractMqttMessageHandler<?, ?> to, String topic, byte[] payload, int qos, boolean kept) {
        Map<String, Object> headers =
                Map.of(MqttHeaders.TOPIC, tag + "/" + topic, MqttHeaders.QOS, qos, MqttHeaders.RETAINED, kept);
        to.handleMessage(new GenericMessage<>(payload, headers));
    }

    private static String url(How how) {
        return given[how.secure() ? 1 : 0].replace("tls:", "ssl:");
    }

    private static DefaultMqttPahoClientFactory four(How how) throws Exception {
        MqttConnectOptions options = new MqttConnectOptions();
        options.setServerURIs(new String[] {url(how)});
        options.setMqttVersion(4);
        options.setCleanSession(how.clean());
        options.setUserName(given[3]);
        options.setPassword(how.password().toCharArray());
        options.setConnectionTimeout(15);
        options.setSocketFactory(url(how).matches("(ssl|wss):.*") ? trusting() : null);
        if (how.will() != null) {
            options.setWill(tag + "/" + how.will(), bytes("gone"), 1, false);
        }
        DefaultMqttPahoClientFactory factory = new DefaultMqttPahoClientFactory();
        factory.setConnectionOptions(options);
        return factory;
    }

    private static MqttConnectionOptions five(How how) throws Exception {
        MqttConnectionOptions options = new MqttConnectionOptions();
        options.setServerURIs(new String[] {url(how)});
        options.setCleanStart(how.clean());
        options.setSessionExpiryInterval(how.clean() ? 0L : 3600L);
        options.setUserName(given[3]);
        options.setPassword(bytes(how.password()));
        options.setConnectionTimeout(15);
        options.setAutomaticReconnect(false);
        options.setSocketFactory(url(how).matches("(ssl|wss):.*") ? trusting() : null);
        if (how.will() != null) {
            options.setWill(
                    tag + "/" + how.will(), new org.eclipse.paho.mqttv5.common.MqttMessage(bytes("gone"), 1, false, null));
        }
        return options;
    }

    private static SSLSocketFactory trusting() throws Exception {
        KeyStore known = KeyStore.getInstance(KeyStore.getDefaultType());
        known.load(null, null);
        try (FileInputStream pem = new FileInputStream(given[2])) {
            known.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(pem));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(known);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context.getSocketFactory();
    }

    private static Message<?> expect(String topic, byte[] payload) {
        Message<?> received = MESSAGES.receive(15_000);
        check(received != null, "nothing on " + topic);
        Object name = received.getHeaders().get(MqttHeaders.RECEIVED_TOPIC);
        check((tag + "/" + topic).equals(name), "another message, on " + name);
        check(Arrays.equals((byte[]) received.getPayload(), payload), "another payload on " + topic);
        return received;
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
