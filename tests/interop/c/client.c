// Eclipse Paho's client for C, its synchronous interface; the last argument is the version: 3, 4 or 5. See ../programs.py.
#include <MQTTClient.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE 15000L  // milliseconds
#define LARGE 1000000

static char **arguments;
static int version;
static const char *tag;

static void fail(const char *what, int code) {
    fprintf(stderr, "%s: %d\n", what, code);
    exit(1);
}

static void said(const char *step) {
    printf("%s ok\n", step);
    fflush(stdout);
}

static char *topic(const char *name) {
    char *text = malloc(strlen(tag) + strlen(name) + 2);
    sprintf(text, "%s/%s", tag, name);
    return text;
}

static int try_connect(MQTTClient *client, const char *name, int keep, const char *password, int tls, const char *will) {
    const char *url = arguments[tls ? 2 : 1];
    int secure = !strncmp(url, "tls:", 4) || !strncmp(url, "wss:", 4);
    char uri[128], id[128];
    snprintf(uri, sizeof uri, "%s%s", strncmp(url, "tls:", 4) ? url : "ssl:", strncmp(url, "tls:", 4) ? "" : url + 4);
    snprintf(id, sizeof id, "%s-%s", tag, name);
    MQTTClient_createOptions create = MQTTClient_createOptions_initializer;
    create.MQTTVersion = version == 5 ? MQTTVERSION_5 : MQTTVERSION_DEFAULT;
    int code = MQTTClient_createWithOptions(client, uri, id, MQTTCLIENT_PERSISTENCE_NONE, NULL, &create);
    if (code != MQTTCLIENT_SUCCESS) fail("create", code);
    MQTTClient_connectOptions options = MQTTClient_connectOptions_initializer;
    MQTTClient_connectOptions five = MQTTClient_connectOptions_initializer5;
    MQTTClient_SSLOptions ssl = MQTTClient_SSLOptions_initializer;
    MQTTClient_willOptions last = MQTTClient_willOptions_initializer;
    if (version == 5) options = five;
    options.MQTTVersion = version;
    options.cleansession = version == 5 ? 0 : !keep;
    options.cleanstart = version == 5 ? !keep : 0;
    options.username = arguments[4];
    options.password = password ? password : arguments[5];
    options.connectTimeout = 15;
    if (secure) {
        ssl.trustStore = arguments[3];
        options.ssl = &ssl;
    }
    if (will) {
        last.topicName = will;
        last.message = "gone";
        last.qos = 1;
        options.will = &last;
    }
    if (version < 5) return MQTTClient_connect(*client, &options);
    MQTTProperties properties = MQTTProperties_initializer;
    MQTTProperty expiry = {.identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL};
    expiry.value.integer4 = keep ? 3600 : 0;
    MQTTProperties_add(&properties, &expiry);
    MQTTResponse answer = MQTTClient_connect5(*client, &options, &properties, NULL);
    code = answer.reasonCode;
    MQTTResponse_free(answer);
    return code;
}

static MQTTClient named(const char *name, int keep, int tls, const char *will) {
    MQTTClient client;
    int code = try_connect(&client, name, keep, NULL, tls, will);
    if (code != MQTTCLIENT_SUCCESS) fail(name, code);
    return client;
}

static void leave(MQTTClient client) {
    if (version == 5) MQTTClient_disconnect5(client, 1000, MQTTREASONCODE_SUCCESS, NULL);
    else MQTTClient_disconnect(client, 1000);
    MQTTClient_destroy(&client);
}

static void subscribe(MQTTClient client, const char *filter, int qos) {
    int code;
    if (version == 5) {
        MQTTResponse answer = MQTTClient_subscribe5(client, filter, qos, NULL, NULL);
        code = answer.reasonCode == qos ? 0 : answer.reasonCode;
        MQTTResponse_free(answer);
    } else {
        code = MQTTClient_subscribe(client, filter, qos);
    }
    if (code) fail("subscribe", code);
}

static void publish(MQTTClient client, const char *where, const void *payload, int size, int qos, int retain) {
    MQTTClient_deliveryToken token;
    int code;
    if (version == 5) {
        MQTTResponse answer = MQTTClient_publish5(client, where, size, payload, qos, retain, NULL, &token);
        code = answer.reasonCode;
        MQTTResponse_free(answer);
    } else {
        code = MQTTClient_publish(client, where, size, payload, qos, retain, &token);
    }
    if (code != MQTTCLIENT_SUCCESS) fail("publish", code);
    if (qos && (code = MQTTClient_waitForCompletion(client, token, PATIENCE)) != MQTTCLIENT_SUCCESS) fail("complete", code);
}

static void expect(MQTTClient client, const char *where, const void *payload, int size, int qos, int retained) {
    char *name = NULL;
    int length;
    MQTTClient_message *message = NULL;
    int code = MQTTCLIENT_FAILURE;
    code = MQTTClient_receive(client, &name, &length, &message, PATIENCE);
    if (!message) fail(where, code);
    if (strcmp(name, where) || message->payloadlen != size || memcmp(message->payload, payload, size)) fail("another message", size);
    if (message->qos != qos || message->retained != retained) fail("another QoS or flag", message->qos);
    MQTTClient_freeMessage(&message);
    MQTTClient_free(name);
}

int main(int count, char **given) {
    (void)count;
    arguments = given;
    tag = given[6];
    version = atoi(given[7]);
    MQTTClient_init_options init = MQTTClient_init_options_initializer;
    init.do_openssl_init = 1;
    MQTTClient_global_init(&init);

    leave(named("first", 0, 0, NULL));
    said("login");
    MQTTClient refused;
    if (try_connect(&refused, "refused", 0, "wrong horse", 0, NULL) == MQTTCLIENT_SUCCESS) fail("let in with a wrong password", 0);
    said("refused");
    leave(named("tls", 0, 1, NULL));
    said("tls");

    MQTTClient reader = named("reader", 0, 0, NULL), writer = named("writer", 0, 0, NULL);
    subscribe(reader, topic("qos/+"), 2);
    for (int qos = 0; qos < 3; qos++) {
        char name[8];
        snprintf(name, sizeof name, "qos/%d", qos);
        publish(writer, topic(name), "x", 1, qos, 0);
        expect(reader, topic(name), "x", 1, qos, 0);
    }
    said("qos");
    publish(writer, topic("kept"), "on", 2, 1, 1);
    subscribe(reader, topic("kept"), 1);
    expect(reader, topic("kept"), "on", 2, 1, 1);
    said("retained");
    subscribe(reader, topic("gone"), 1);
    MQTTClient mortal = named("mortal", 0, 0, topic("gone"));
    MQTTClient successor = named("mortal", 0, 0, NULL);
    // Without threads, the end of a connection that is seen in another client's call ends that one, too.
    for (int turn = 0; turn < 50 && MQTTClient_isConnected(mortal); turn++) MQTTClient_yield();
    expect(reader, topic("gone"), "gone", 4, 1, 0);
    leave(successor);
    said("will");

    MQTTClient lasting = named("lasting", 1, 0, NULL);
    subscribe(lasting, topic("later"), 1);
    leave(lasting);
    publish(writer, topic("later"), "waited", 6, 1, 0);
    MQTTClient back = named("lasting", 1, 0, NULL);
    expect(back, topic("later"), "waited", 6, 1, 0);
    said("session");

    char *large = malloc(LARGE);
    memset(large, 'x', LARGE);
    subscribe(reader, topic("large"), 1);
    // Over WebSocket the library (1.3.12) keeps a half-read frame in one place for all connections of a process.
    publish(*arguments[1] == 'w' ? reader : writer, topic("large"), large, LARGE, 1, 0);
    expect(reader, topic("large"), large, LARGE, 1, 0);
    said("large");
    leave(reader);
    leave(writer);
    leave(back);

    printf("restart\n");
    fflush(stdout);
    char line[16];
    if (!fgets(line, sizeof line, stdin)) fail("nobody restarted the node", 0);
    back = named("lasting", 1, 0, NULL);
    writer = named("writer", 0, 0, NULL);
    publish(writer, topic("later"), "after", 5, 1, 0);
    expect(back, topic("later"), "after", 5, 1, 0);
    said("restart");
    return 0;
}
