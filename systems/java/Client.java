import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * The Java client against a Kafka endpoint: {@code Client BOOTSTRAP TOPIC RECORDS_PER_WAY}.
 *
 * <p>Prints one line a step, {@code ok STEP: what was seen} or {@code failed STEP: why}, and at last {@code sent N}. Record
 * i of a way to send says its own name, so that a record that is lost, doubled or changed shows.
 */
public final class Client {
    private static final String[] COMPRESSIONS = {"none", "gzip", "snappy", "lz4", "zstd"};
    private static final long START_MS = 1_767_225_600_000L;

    private final String bootstrap;
    private final String topic;
    private final int recordsPerWay;
    private final Map<String, String> sent = new HashMap<>();
    private final Map<TopicPartition, TreeMap<Long, Long>> times = new HashMap<>();
    private List<TopicPartition> partitions = List.of();
    private boolean failed;

    private Client(String bootstrap, String topic, int recordsPerWay) {
        this.bootstrap = bootstrap;
        this.topic = topic;
        this.recordsPerWay = recordsPerWay;
    }

    private interface Step {
        String run() throws Exception;
    }

    public static void main(String[] arguments) {
        Client client = new Client(arguments[0], arguments[1], Integer.parseInt(arguments[2]));
        client.step("topics", client::topics);
        for (String compression : COMPRESSIONS) {
            for (String acks : List.of("0", "1", "all")) {
                client.step("send " + compression + " acks=" + acks, () -> client.send(compression, acks, false));
            }
            client.step("send " + compression + " idempotent", () -> client.send(compression, "all", true));
        }
        client.step("refuse an oversized record", client::refuseOversized);
        client.step("offsets", client::offsets);
        client.step("consume", client::consume);
        client.step("consume from the middle", client::consumeFromTheMiddle);
        client.step("offsets for times", client::offsetsForTimes);
        System.out.println("sent " + client.sent.size());
        System.exit(client.failed ? 1 : 0);
    }

    private void step(String name, Step step) {
        try {
            System.out.println("ok " + name + ": " + step.run());
        } catch (Exception error) {
            failed = true;
            System.out.println("failed " + name + ": " + error);
        }
    }

    private String topics() throws Exception {
        try (Admin admin = Admin.create(properties())) {
            Set<String> names = admin.listTopics().names().get(30, TimeUnit.SECONDS);
            require(names.contains(topic), "the topic is not among " + names);
            int count = admin.describeTopics(List.of(topic)).allTopicNames().get(30, TimeUnit.SECONDS).get(topic).partitions().size();
            int nodes = admin.describeCluster().nodes().get(30, TimeUnit.SECONDS).size();
            partitions = new ArrayList<>();
            for (int number = 0; number < count; number++) {
                partitions.add(new TopicPartition(topic, number));
            }
            return names.size() + " topics, " + count + " partitions, " + nodes + " node";
        }
    }

    private String send(String compression, String acks, boolean idempotent) throws Exception {
        Properties properties = properties();
        properties.put("compression.type", compression);
        properties.put("acks", acks);
        properties.put("enable.idempotence", idempotent);
        properties.put("linger.ms", 5);
        List<Future<RecordMetadata>> answers = new ArrayList<>();
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer())) {
            for (int i = 0; i < recordsPerWay; i++) {
                String key = "java-" + compression + "-" + acks + (idempotent ? "-idempotent-" : "-") + i;
                String value = "{\"Id\":\"" + key + "\",\"ActivityHour\":\"4/12/2016 " + (i % 12 + 1) + ":00:00 AM\",\"StepTotal\":" + i + "}";
                ProducerRecord<String, String> record = new ProducerRecord<>(topic, null, START_MS + sent.size() * 1000L, key, value);
                record.headers().add("sent-by", compression.getBytes());
                answers.add(producer.send(record));
                sent.put(key, value);
            }
        }
        for (Future<RecordMetadata> answer : answers) {
            RecordMetadata metadata = answer.get();
            require(metadata.hasOffset() != acks.equals("0"), "an offset was " + metadata.offset());
        }
        return answers.size() + " records";
    }

    private String refuseOversized() throws Exception {
        Properties properties = properties();
        properties.put("max.request.size", 64 << 20);
        properties.put("buffer.memory", 128 << 20);
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer())) {
            producer.send(new ProducerRecord<>(topic, "large", "x".repeat(20 << 20))).get(60, TimeUnit.SECONDS);
        } catch (ExecutionException error) {
            return error.getCause().getClass().getSimpleName();
        }
        throw new IllegalStateException("a record of 20 MiB was taken");
    }

    private String offsets() {
        try (KafkaConsumer<String, byte[]> consumer = consumer()) {
            long begin = sum(consumer.beginningOffsets(partitions)), end = sum(consumer.endOffsets(partitions));
            require(begin == 0 && end == sent.size(), "from " + begin + " to " + end + ", want 0 to " + sent.size());
            return "from " + begin + " to " + end;
        }
    }

    private String consume() {
        Map<String, Integer> seen = new HashMap<>();
        try (KafkaConsumer<String, byte[]> consumer = consumer()) {
            consumer.seekToBeginning(partitions);
            for (ConsumerRecord<String, byte[]> record : read(consumer, sent.size())) {
                seen.merge(record.key(), 1, Integer::sum);
                require(Arrays.equals(record.value(), sent.getOrDefault(record.key(), "").getBytes()), "the bytes of a record differ");
                require(record.headers().lastHeader("sent-by") != null, "the header of a record is gone");
                times.computeIfAbsent(new TopicPartition(topic, record.partition()), none -> new TreeMap<>()).merge(record.timestamp(), record.offset(), Math::min);
            }
        }
        long doubled = seen.values().stream().filter(count -> count != 1).count();
        require(seen.size() == sent.size() && doubled == 0, seen.size() + " of " + sent.size() + " came back, " + doubled + " of them twice");
        return seen.size() + " records, each once, the same bytes";
    }

    /** A fetch that begins within a batch gives nothing before its offset. */
    private String consumeFromTheMiddle() {
        try (KafkaConsumer<String, byte[]> consumer = consumer()) {
            TopicPartition partition = partitions.get(0);
            long end = consumer.endOffsets(List.of(partition)).get(partition), from = end / 2 + 1;
            consumer.assign(List.of(partition));
            consumer.seek(partition, from);
            long first = read(consumer, (int) (end - from)).get(0).offset();
            require(first == from, "the first offset is " + first + ", want " + from);
            return "from " + from + " to " + end;
        }
    }

    private String offsetsForTimes() throws Exception {
        try (KafkaConsumer<String, byte[]> consumer = consumer(); Admin admin = Admin.create(properties())) {
            for (TopicPartition partition : partitions) {
                TreeMap<Long, Long> known = times.get(partition);
                long middle = (known.firstKey() + known.lastKey()) / 2, after = known.lastKey() + 1;
                OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(partition, middle)).get(partition);
                require(found != null && found.offset() == known.ceilingEntry(middle).getValue(), "the first offset at or after a time is " + found + ", want " + known.ceilingEntry(middle));
                require(consumer.offsetsForTimes(Map.of(partition, after)).get(partition) == null, "there is an offset after the last time");
                long newest = admin.listOffsets(Map.of(partition, OffsetSpec.maxTimestamp())).partitionResult(partition).get(30, TimeUnit.SECONDS).offset();
                require(newest == known.lastEntry().getValue(), "the offset of the newest time is " + newest + ", want " + known.lastEntry());
            }
        }
        return "in the middle, after the end, and the newest";
    }

    private List<ConsumerRecord<String, byte[]>> read(KafkaConsumer<String, byte[]> consumer, int count) {
        List<ConsumerRecord<String, byte[]>> records = new ArrayList<>();
        long end = System.nanoTime() + Duration.ofSeconds(60).toNanos();
        while (records.size() < count && System.nanoTime() < end) {
            consumer.poll(Duration.ofMillis(500)).forEach(records::add);
        }
        consumer.poll(Duration.ofMillis(500)).forEach(records::add);
        return records;
    }

    private KafkaConsumer<String, byte[]> consumer() {
        KafkaConsumer<String, byte[]> consumer = new KafkaConsumer<>(properties(), new StringDeserializer(), new ByteArrayDeserializer());
        consumer.assign(partitions);
        return consumer;
    }

    private Properties properties() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        return properties;
    }

    private static long sum(Map<TopicPartition, Long> offsets) {
        return offsets.values().stream().mapToLong(Long::longValue).sum();
    }

    private static void require(boolean holds, String message) {
        if (!holds) {
            throw new IllegalStateException(message);
        }
    }
}
