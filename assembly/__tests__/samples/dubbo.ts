import { answered, asked, hex8, hex32, hexText, Sample, setU32, Wire } from "./sample";

/** A Hessian 2 string of up to 1023 characters, as hexadecimal digits. */
export function text(value: string): string {
  const units = value.length;
  const length = units < 32 ? hex8(units) : hex8(0x30 | (units >> 8)) + hex8(units & 255);
  return length + hexText(value);
}

/** A Dubbo frame with that body; flags and status as they stand in the header. */
export function dubbo(flags: u32, status: u32, id: u32, body: string): string {
  const size = (body.length >> 1) as u32;
  return "dabb" + hex8(flags) + hex8(status) + "00000000" + hex32(id) + hex32(size) + body;
}

/** A Hessian 2 map of strings. */
export function map(pairs: string[]): string {
  let hex = "48";
  for (let i = 0; i < pairs.length; i++) hex += text(pairs[i]);
  return hex + "5a";
}

/** The head of a Dubbo request body: Dubbo's version, service, the service's version, method, parameter types. */
export function call(service: string, method: string, types: string): string {
  return text("2.0.2") + text(service) + text("1.0") + text(method) + text(types);
}

/** A reply of that status with a short message. */
function status(code: u32, outcome: string): Sample {
  return answered("status " + code.toString(), dubbo(0x02, code, 3, text("why")), "response 3 % " + outcome);
}

function manyAttachments(): Sample {
  const pairs: string[] = [];
  let expected = "{interface=s, version=1.0";
  for (let i = 0; i < 100; i++) {
    pairs.push("key" + i.toString());
    pairs.push(i.toString());
    if (i < 62) expected += ", key" + i.toString() + "=" + i.toString();
  }
  const hex = dubbo(0xc2, 0, 1, call("s", "m", "") + map(pairs));
  return asked("100 attachments", hex, `request 1 % s#m ${expected}} dropped`);
}

/** A string in chunks: all but the last begin with R. */
const CHUNKED = "520003616263" + "5200025f5f" + "03646566";

const samples: Sample[] = [
  // Captures: see test/fixtures/captures/README.md. Frames from Java: Apache Dubbo 3, from Node: dubbo-remoting.
  asked(
    "a call (capture)",
    "dabbc2000000000000005958000000f805322e302e321b6d792e64656d6f2e736572766963652e557365725365727669636505302e302e" +
      "30056c6f67696e30244c6a6176612f6c616e672f537472696e673b4c6a6176612f6c616e672f537472696e673b0b313337383034303736" +
      "3037067833235539264804706174681b6d792e64656d6f2e736572766963652e55736572536572766963651272656d6f74652e6170706c" +
      "69636174696f6e0873686f702d776562057377382d78013003737738000f7377382d636f7272656c6174696f6e0009696e746572666163" +
      "651b6d792e64656d6f2e736572766963652e55736572536572766963650776657273696f6e05302e302e305a",
    "request 22872 264 my.demo.service.UserService#login {interface=my.demo.service.UserService, version=0.0.0, path=my.demo.service.UserService, remote.application=shop-web, sw8-x=0, sw8=, sw8-correlation=}",
  ),
  answered(
    "its reply (capture)",
    "dabb02140000000000005958000000bf94431d6d792e64656d6f2e736572766963652e53657276696365526573756c749306726573756c" +
      "74076d65737361676507737563636573736043136d792e64656d6f2e656e746974792e55736572960a6c61737455706461746509637265" +
      "61746564417405656d61696c066d6f62696c65086e69636b6e616d6506757365724964614a0000017cdcce0e004a0000017cde85820000" +
      "0b31333738303430373630370b3133372a2a2a2a37363037f81700544805647562626f05322e302e325a",
    "response 22872 207 ok/0/20 {dubbo=2.0.2}",
  ),
  asked(
    "a call with a trace (capture)",
    "dabbc2000000000000077b790000034605322e302e32302d636f6d2e7669766f2e69742e76776f726b2e6170692e636f6d6d6f6e2e6578" +
      "706f72742e4578706f727441706905302e302e300767657442794964164c6a6176612f696f2f53657269616c697a61626c653b4c02ce65" +
      "06c3b46f8f480774726163654964302062323139323638383763616434313634393765383733636266613462356563610f696e766f6b65" +
      "72486f73744e616d651a76776f726b2d7765622d363663643662363963372d327a34713207705370616e49641131313433353939373433" +
      "33303432383830104561676c654579652d705370616e49441335383737333430383133333634393239313439114561676c654579652d70" +
      "4170704e616d6530203130323630353533363433343132303940323462323734653332363963613162303e636f6d2e7669766f2e69742e" +
      "76776f726b2e647562626f2e636f6e7374616e74732e5270634174746163686d656e742e54494d455354414d505f4e414d450d31363635" +
      "343735343732353530115f5f647562626f2e636c75737465725f5f115f5f647562626f2e636c75737465725f5f0b4561676c654579652d" +
      "49500c31302e3134352e39322e393508757365724e616d654e09696e74657266616365302d636f6d2e7669766f2e69742e76776f726b2e" +
      "6170692e636f6d6d6f6e2e6578706f72742e4578706f72744170690776657273696f6e05302e302e3009696e766f6b657249700c31302e" +
      "3134352e39322e39350774696d656f7574063330303030300c656d706c6f796565436f64654e067370616e496411313134333539393734" +
      "3333313733393532114561676c654579652d5573657244617461077462733d6672730470617468302d636f6d2e7669766f2e69742e7677" +
      "6f726b2e6170692e636f6d6d6f6e2e6578706f72742e4578706f72744170690e4561676c654579652d527063494408302e312e31302e31" +
      "104561676c654579652d547261636549443020393036303637363531363635343735343732363231313135363261516b3870440e696e76" +
      "6f6b65724170704e616d650976776f726b2d7765620f4561676c654579652d5370616e4944142d36343535333832363939333637373734" +
      "3737310f6170706c69636174696f6e4e616d650876776f726b7765625a",
    "request 490361 854 com.vivo.it.vwork.api.common.export.ExportApi#getById deadline=300000 {interface=" +
      "com.vivo.it.vwork.api.common.export.ExportApi, version=0.0.0, traceId=b21926887cad416497e873cbfa4b5e" +
      "ca, invokerHostName=vwork-web-66cd6b69c7-2z4q2, pSpanId=11435997433042880, EagleEye-pSpanID=58773408" +
      "13364929149, EagleEye-pAppName=1026055364341209@24b274e3269ca1b, com.vivo.it.vwork.dubbo.constants.R" +
      "pcAttachment.TIMESTAMP_NAME=1665475472550, __dubbo.cluster__=__dubbo.cluster__, EagleEye-IP=10.145.9" +
      "2.95, invokerIp=10.145.92.95, timeout=300000, spanId=11435997433173952, EagleEye-UserData=tbs=frs, p" +
      "ath=com.vivo.it.vwork.api.common.export.ExportApi, EagleEye-RpcID=0.1.10.1, EagleEye-TraceID=9060676" +
      "5166547547262111562aQk8pD, invokerAppName=vwork-web, EagleEye-SpanID=-6455382699367774771, applicati" +
      "onName=vworkweb}",
  ),
  asked(
    "a call from Java",
    "dabbc200d881a803c8fd302d000000c405322e302e32186f72672e6d656c74656d692e64656d6f2e4772656574657205302e302e300465" +
      "63686f124c6a6176612f6c616e672f4f626a6563743b03666967480470617468186f72672e6d656c74656d692e64656d6f2e4772656574" +
      "65721272656d6f74652e6170706c69636174696f6e106d656c74656d692d636f6e73756d657209696e74657266616365186f72672e6d65" +
      "6c74656d692e64656d6f2e477265657465720776657273696f6e05302e302e300774696d656f75740531303030305a",
    "request 15600935318398513197 212 org.meltemi.demo.Greeter#echo deadline=10000 {interface=org.meltemi.demo.Greeter, version=0.0.0, path=org.meltemi.demo.Greeter, remote.application=meltemi-consumer, timeout=10000}",
  ),
  answered(
    "a reply from Java",
    "dabb0214d881a803c8fd302d0000001394036669674805647562626f05322e302e325a",
    "response 15600935318398513197 35 ok/0/20 {dubbo=2.0.2}",
  ),
  asked(
    "objects, class definitions and references from Java",
    "dabbc200d881a803c8fd303c000001b805322e302e32166f72672e6d656c74656d692e64656d6f2e4b696e647305302e302e30056f7264" +
      "6572184c6f72672f6d656c74656d692f64656d6f2f4f726465723b43166f72672e6d656c74656d692e64656d6f2e4f7264657295087072" +
      "6576696f7573096661766f7572697465056974656d73076372656174656402696460604e4e71136a6176612e7574696c2e41727261794c" +
      "697374431b6f72672e6d656c74656d692e64656d6f2e4f72646572244974656d9305636f6c6f72057072696365046e616d656143166f72" +
      "672e6d656c74656d692e64656d6f2e436f6c6f7291046e616d656205475245454e5f000001f4036669674b00000001e161620352454444" +
      "7e37e43c8800759c04cf83cf8dcebacebf72905195614e5dfd0674656120eda0bcedbdb54a0000018bcfe5687b4c000001000000000048" +
      "0470617468166f72672e6d656c74656d692e64656d6f2e4b696e64731272656d6f74652e6170706c69636174696f6e106d656c74656d69" +
      "2d636f6e73756d657209696e74657266616365166f72672e6d656c74656d692e64656d6f2e4b696e64730776657273696f6e05302e302e" +
      "300774696d656f75740531303030305a",
    "request 15600935318398513212 456 org.meltemi.demo.Kinds#order deadline=10000 {interface=org.meltemi.demo.Kinds, version=0.0.0, path=org.meltemi.demo.Kinds, remote.application=meltemi-consumer, timeout=10000}",
  ),
  asked(
    "an argument of every kind from Java",
    "dabbc200d881a803c8fd303f000002c105322e302e32166f72672e6d656c74656d692e64656d6f2e4b696e647305302e302e3008646573" +
      "637269626530a35a424353494a46444c6a6176612f6c616e672f537472696e673b4c6a6176612f7574696c2f446174653b4c6a6176612f" +
      "7574696c2f4c6973743b4c6a6176612f7574696c2f4d61703b4c6f72672f6d656c74656d692f64656d6f2f4f726465723b4c6f72672f6d" +
      "656c74656d692f64656d6f2f436f6c6f723b5b425b4c6a6176612f6c616e672f537472696e673b5b5b494c6a6176612f6c616e672f4f62" +
      "6a6563743b548f01cf83c92cd511704c80000000000000005f0000006444be112e0be826d69502eda0bcedbdb54b0000000176136a6176" +
      "612e7574696c2e41727261794c6973740161915f000009c4544e7190016248016191046c6973745190036d617048016b01765a5a43166f" +
      "72672e6d656c74656d692e64656d6f2e4f72646572950870726576696f7573096661766f7572697465056974656d730763726561746564" +
      "02696460604e4e7190431b6f72672e6d656c74656d692e64656d6f2e4f72646572244974656d9305636f6c6f72057072696365046e616d" +
      "656143166f72672e6d656c74656d692e64656d6f2e436f6c6f7291046e616d656205475245454e5f000001f4036669674b00000001e161" +
      "6203524544447e37e43c8800759c04cf83cf8dcebacebf72905199614e5dfd0674656120eda0bcedbdb54a0000018bcfe5687b4c000001" +
      "0000000000519a2300ff7f72075b737472696e6701614e73055b5b696e7471045b696e74917093729392934e480470617468166f72672e" +
      "6d656c74656d692e64656d6f2e4b696e64731272656d6f74652e6170706c69636174696f6e106d656c74656d692d636f6e73756d657209" +
      "696e74657266616365166f72672e6d656c74656d692e64656d6f2e4b696e64730776657273696f6e05302e302e300774696d656f757405" +
      "31303030305a",
    "request 15600935318398513215 721 org.meltemi.demo.Kinds#describe deadline=10000 {interface=org.meltemi.demo.Kinds, version=0.0.0, path=org.meltemi.demo.Kinds, remote.application=meltemi-consumer, timeout=10000}",
  ),
  answered(
    "a null reply from Java",
    "dabb0214d881a803c8fd303d0000000f954805647562626f05322e302e325a",
    "response 15600935318398513213 31 ok/0/20 {dubbo=2.0.2}",
  ),
  asked(
    "attachments from Java",
    "dabbc200d881a803c8fd3042000000e505322e302e32186f72672e6d656c74656d692e64656d6f2e4772656574657205302e302e300a61" +
      "74746163686d656e74124c6a6176612f6c616e672f537472696e673b057472616365480470617468186f72672e6d656c74656d692e6465" +
      "6d6f2e47726565746572057472616365036669671272656d6f74652e6170706c69636174696f6e106d656c74656d692d636f6e73756d65" +
      "7209696e74657266616365186f72672e6d656c74656d692e64656d6f2e477265657465720776657273696f6e05302e302e300774696d65" +
      "6f757405313030303009647562626f2e74616704677261795a",
    "request 15600935318398513218 245 org.meltemi.demo.Greeter#attachment deadline=10000 {interface=org.meltemi.demo.Greeter, version=0.0.0, path=org.meltemi.demo.Greeter, trace=fig, remote.application=meltemi-consumer, timeout=10000, dubbo.tag=gray}",
  ),
  asked(
    "a one-way call from Java",
    "dabb8200d881a803c8fd304d000000d405322e302e32186f72672e6d656c74656d692e64656d6f2e4772656574657205302e302e30066e" +
      "6f74696679124c6a6176612f6c616e672f537472696e673b116669672033313435303335393430303139480470617468186f72672e6d65" +
      "6c74656d692e64656d6f2e477265657465721272656d6f74652e6170706c69636174696f6e106d656c74656d692d636f6e73756d657209" +
      "696e74657266616365186f72672e6d656c74656d692e64656d6f2e477265657465720776657273696f6e05302e302e300774696d656f75" +
      "740531303030305a",
    "oneway 15600935318398513229 228 org.meltemi.demo.Greeter#notify deadline=10000 {interface=org.meltemi.demo.Greeter, version=0.0.0, path=org.meltemi.demo.Greeter, remote.application=meltemi-consumer, timeout=10000}",
  ),
  asked(
    "a group and a version from Java",
    "dabbc2001372043fcefc80aa000000d305322e302e32186f72672e6d656c74656d692e64656d6f2e4772656574657205322e302e300873" +
      "617948656c6c6f124c6a6176612f6c616e672f537472696e673b03666967480470617468186f72672e6d656c74656d692e64656d6f2e47" +
      "7265657465721272656d6f74652e6170706c69636174696f6e106d656c74656d692d636f6e73756d657209696e74657266616365186f72" +
      "672e6d656c74656d692e64656d6f2e477265657465720776657273696f6e05322e302e300774696d656f75740531303030300567726f75" +
      "7004677261795a",
    "request 1401187106167750826 227 org.meltemi.demo.Greeter#sayHello deadline=10000 {interface=org.meltemi.demo.Greeter, version=2.0.0, path=org.meltemi.demo.Greeter, remote.application=meltemi-consumer, timeout=10000, group=gray}",
  ),
  asked(
    "a generic call from Java",
    "dabbc2001372043fcefc80ab0000011705322e302e32186f72672e6d656c74656d692e64656d6f2e4772656574657205302e302e300724" +
      "696e766f6b6530384c6a6176612f6c616e672f537472696e673b5b4c6a6176612f6c616e672f537472696e673b5b4c6a6176612f6c616e" +
      "672f4f626a6563743b0361646472075b737472696e6703696e7403696e7472075b6f626a6563749293480470617468186f72672e6d656c" +
      "74656d692e64656d6f2e477265657465721272656d6f74652e6170706c69636174696f6e106d656c74656d692d636f6e73756d65720969" +
      "6e74657266616365186f72672e6d656c74656d692e64656d6f2e477265657465720776657273696f6e05302e302e300767656e65726963" +
      "04747275650774696d656f75740531303030305a",
    "request 1401187106167750827 295 org.meltemi.demo.Greeter#$invoke deadline=10000 {interface=org.meltemi.demo.Greeter, version=0.0.0, generic.method=add, path=org.meltemi.demo.Greeter, remote.application=meltemi-consumer, generic=true, timeout=10000}",
  ),
  asked(
    "a call from Node, with an empty version",
    "dabbc20000000000000000070000008605322e302e3209612e47726565746572000568656c6c6f184c6a6176612f6c616e672f53747269" +
      "6e673b494c612f423b05776f726c64954303612e429201780179609101c3a94805647562626f05322e302e3209647562626f2e74616704" +
      "6772617909696e7465726661636509612e47726565746572047061746809612e477265657465725a",
    "request 7 150 a.Greeter#hello {interface=a.Greeter, version=, dubbo=2.0.2, dubbo.tag=gray, path=a.Greeter}",
  ),
  asked(
    "a one-way call from Node",
    "dabb820000000000000000080000004905322e302e3209612e47726565746572000568656c6c6f004805647562626f05322e302e320969" +
      "6e7465726661636509612e47726565746572047061746809612e477265657465725a",
    "oneway 8 89 a.Greeter#hello {interface=a.Greeter, version=, dubbo=2.0.2, path=a.Greeter}",
  ),
  asked("a heartbeat", "dabbe2000000000000000005000000014e", "heartbeat 5 17 ~#~"),
  answered("a heartbeat reply", "dabb22140000000000000005000000014e", "heartbeat_reply 5 17"),
  answered(
    "an exception from Node",
    "dabb021400000000000000090000003790431f6a6176612e6c616e672e496c6c6567616c5374617465457863657074696f6e910d646574" +
      "61696c4d6573736167656004626f6f6d",
    "response 9 71 exception/1/20",
  ),
  answered("a failure from Node", "dabb023c00000000000000030000000504676f6e65", "response 3 21 service_not_found/3/60"),
  status(20, "ok/0/20 dropped"),
  status(25, "serialization_error/2/25"),
  status(30, "client_timeout/5/30"),
  status(31, "server_timeout/5/31"),
  status(35, "channel_inactive/7/35"),
  status(40, "bad_request/2/40"),
  status(50, "bad_response/8/50"),
  status(60, "service_not_found/3/60"),
  status(70, "service_error/8/70"),
  status(80, "server_error/8/80"),
  status(90, "client_error/2/90"),
  status(100, "threadpool_exhausted/6/100"),
  status(7, "7/8/7"),
  answered("an exception", dubbo(0x02, 20, 3, "90" + text("boom")), "response 3 % exception/1/20"),
  answered(
    "an exception, attachments",
    dubbo(0x02, 20, 3, "93" + text("boom") + map([])),
    "response 3 % exception/1/20",
  ),
  answered(
    "a value that is not Hessian",
    dubbo(0x02, 20, 3, "9460" + map(["tag", "gray"])),
    "response 3 % ok/0/20 dropped",
  ),
  answered(
    "attachments that end too early",
    dubbo(0x02, 20, 3, "95" + map(["tag", "gray"]).slice(0, -2)),
    "response 3 % ok/0/20 {tag=gray} dropped",
  ),
  answered("no value, null for attachments", dubbo(0x02, 20, 3, "954e"), "response 3 % ok/0/20"),
  answered(
    "an object, attachments of all sorts",
    dubbo(
      0x02,
      20,
      3,
      "94" +
        "43" +
        text("a.B") +
        "91" +
        text("x") +
        "6091" +
        ("48" + text("tag") + "5190" + text("tag") + text("gray") + "91" + map(["a", "b"])) +
        (text("o") + "6092" + text("p") + "43" + text("a.C") + "90" + "61" + text("tag") + text("second") + "5a"),
    ),
    "response 3 % ok/0/20 {tag=gray}",
  ),
  answered("a value", dubbo(0x02, 20, 3, "91" + text("hi")), "response 3 % ok/0/20"),
  answered("no value", dubbo(0x02, 20, 3, "92"), "response 3 % ok/0/20"),
  answered("a reply without a body", dubbo(0x02, 20, 3, ""), "response 3 % ok/0/20"),
  answered(
    "a reply in another serialization",
    dubbo(0x06, 20, 3, "900a22"),
    "response 3 % ok/0/20 {serialization=fastjson}",
  ),
  asked("an event that is no heartbeat", dubbo(0xe2, 0, 6, text("R")), "heartbeat 6 % ~#~"),
  asked("an event that nobody answers", dubbo(0xa2, 0, 6, text("R")), "heartbeat 6 % ~#~"),
  asked("a call in fastjson", dubbo(0xc6, 0, 6, "22322e302e32220a"), "request 6 % ~#~ {serialization=fastjson}"),
  asked(
    "a one-way call in a serialization without a name",
    dubbo(0x9f, 0, 6, "00"),
    "oneway 6 % ~#~ {serialization=31}",
  ),
  asked(
    "a generic call",
    dubbo(
      0xc2,
      0,
      6,
      call("s", "$invoke", "Ljava/lang/String;[Ljava/lang/String;[Ljava/lang/Object;") +
        (text("sayHello") + "71" + text("[string") + text("java.lang.String") + "57" + text("fig") + "5a") +
        map(["generic", "true", "generic.method", "hidden"]),
    ),
    "request 6 % s#$invoke {interface=s, version=1.0, generic.method=sayHello, generic=true}",
  ),
  asked(
    "a generic call without a method's name",
    dubbo(0xc2, 0, 6, call("s", "$invokeAsync", "Ljava/lang/String;I") + "4e97" + map(["generic", "true"])),
    "request 6 % s#$invokeAsync {interface=s, version=1.0, generic=true}",
  ),
  asked(
    "names of other scripts",
    dubbo(0xc2, 0, 6, call("ελ.Μελτέμι", "茶🍵", "") + map(["ключ", "🍵", "empty", ""])),
    "request 6 % ελ.Μελτέμι#茶🍵 {interface=ελ.Μελτέμι, version=1.0, ключ=🍵, empty=}",
  ),
  asked(
    "an argument, a key and a value in chunks",
    dubbo(
      0xc2,
      0,
      6,
      call("s", "m", "Ljava/lang/Object;I") +
        CHUNKED +
        "9048" +
        CHUNKED +
        text("x") +
        text("y") +
        CHUNKED +
        text("tag") +
        text("gray") +
        "5a",
    ),
    "request 6 % s#m {interface=s, version=1.0, tag=gray} dropped",
  ),
  asked(
    "a service in chunks",
    dubbo(0xc2, 0, 6, text("2.0.2") + CHUNKED + text("1.0") + text("m") + text("") + map(["tag", "gray"])),
    "request 6 % ~#m {interface=~, version=1.0, tag=gray}",
  ),
  asked(
    "nulls for names",
    dubbo(0xc2, 0, 6, "4e4e4e" + text("m") + "4e" + map(["tag", "gray"])),
    "request 6 % ~#m {interface=~, tag=gray}",
  ),
  asked(
    "objects, definitions, references, lists of all sorts",
    dubbo(
      0xc2,
      0,
      6,
      call("s", "m", "La/B;[La/B;[[IZLjava/util/Map;") +
        // a.B{x, y} with an a.C in it, a list of the same objects, nested int arrays, true, a map of a map
        ("43" +
          text("a.B") +
          "92" +
          text("x") +
          text("y") +
          "60" +
          "43" +
          text("a.C") +
          "91" +
          text("z") +
          "6191" +
          "e1") +
        ("72" + text("[a.B") + "51905190") +
        ("56" + text("[[int") + "92" + "7a9192" + "57" + "939495" + "5a") +
        "54" +
        ("4d" + text("java.util.TreeMap") + text("k") + map(["a", "b"]) + "5a") +
        map(["dubbo.tag", "gray", "dubbo.tag", "second", "timeout", "250"]),
    ),
    "request 6 % s#m deadline=250 {interface=s, version=1.0, dubbo.tag=gray, timeout=250}",
  ),
  asked(
    "attachments that are no strings",
    dubbo(
      0xc2,
      0,
      6,
      call("s", "m", "") +
        "48" +
        text("timeout") +
        "d43a98" +
        text("a") +
        "4e" +
        "91" +
        text("b") +
        text("c") +
        text("d") +
        "5a",
    ),
    "request 6 % s#m {interface=s, version=1.0, c=d}",
  ),
  asked(
    "no attachments",
    dubbo(0xc2, 0, 6, call("s", "m", "I") + "97"),
    "request 6 % s#m {interface=s, version=1.0} dropped",
  ),
  asked(
    "null attachments",
    dubbo(0xc2, 0, 6, call("s", "m", "I") + "974e"),
    "request 6 % s#m {interface=s, version=1.0}",
  ),
  asked(
    "a timeout that is none",
    dubbo(0xc2, 0, 6, call("s", "m", "") + map(["timeout", "1e3"])),
    "request 6 % s#m {interface=s, version=1.0, timeout=1e3}",
  ),
  asked(
    "a timeout beyond 32 bits",
    dubbo(0xc2, 0, 6, call("s", "m", "") + map(["timeout", "4294967296"])),
    "request 6 % s#m {interface=s, version=1.0, timeout=4294967296}",
  ),
  asked(
    "types that are none",
    dubbo(0xc2, 0, 6, call("s", "m", "Ljava/lang/String") + text("x") + map([])),
    "request 6 % s#m {interface=s, version=1.0} dropped",
  ),
  asked(
    "an argument that is not Hessian",
    dubbo(0xc2, 0, 6, call("s", "m", "I") + "45" + map(["tag", "gray"])),
    "request 6 % s#m {interface=s, version=1.0} dropped",
  ),
  manyAttachments(),
];

@final
export class DubboWire extends Wire {
  constructor() {
    super("dubbo", samples);
    this.magicBytes = 2;
    this.idBits = 64;
    this.heartbeats = true;
    this.encodes = true;
    this.least = 16;
  }

  setLength(p: usize, length: u64): bool {
    return length >= 16 && setU32(p + 12, length - 16);
  }
}
